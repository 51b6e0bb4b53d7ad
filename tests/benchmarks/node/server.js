// nodemailer's smtp-server, which accepts and discards.  Arguments: PORT [CERTIFICATE KEY].
"use strict";

const fs = require("fs");
const { SMTPServer } = require("smtp-server");

const [port, certificate, key] = process.argv.slice(2);

const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ["AUTH"],
    disableReverseLookup: true,
    hideSTARTTLS: !certificate,
    logger: false,
    maxAllowedUnauthenticatedCommands: false,
    size: 1e9,
    ...(certificate && { cert: fs.readFileSync(certificate), key: fs.readFileSync(key) }),
    onData(stream, session, callback) {
        stream.on("end", () => callback());
        stream.resume();
    },
});

server.on("error", (error) => console.error(error.message));
server.listen(Number(port), "127.0.0.1", 511);
