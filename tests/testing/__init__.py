"""What tests of handlers use is tested itself."""
