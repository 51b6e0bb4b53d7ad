def authenticator(given): return given.authenticate
