def handler_factory(given):
    if isinstance(given, type): return lambda connection: given()
    return lambda connection: given
SmtpEventHandler = callbacks = threaded = None
