"""What ``twistd smtpcb`` runs."""
