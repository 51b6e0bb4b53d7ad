// nodemailer's smtp-server, which refuses by name and keeps each message in a file.
// Arguments: FOLDER PORT SMTPS_PORT LMTP_PORT CERTIFICATE KEY USER PASSWORD
"use strict";

const fs = require("fs");
const path = require("path");
const { SMTPServer } = require("smtp-server");

const [folder, port, smtps, lmtp, certificate, key, user, password] = process.argv.slice(2);
const byName = {
  unknown: [550, "5.1.1 Unknown"],
  later: [450, "4.2.1 Later"],
  mail5: [550, "5.7.1 Not from you"],
  mail4: [450, "4.7.1 Not now"],
};
const behind = { dot5: [554, "5.6.0 Not that"], dot4: [451, "4.3.0 Busy"] };
let number = 0;

const name = (address) => address.split("@")[0];

function refusal(found) {
  if (!found) return null;
  const error = new Error(found[1]);
  error.responseCode = found[0];
  return error;
}

function serve(where, options) {
  const server = new SMTPServer({
    authOptional: true,
    disableReverseLookup: true,
    logger: false,
    maxAllowedUnauthenticatedCommands: false,
    name: "mail.example.org",
    size: 200000,
    cert: fs.readFileSync(certificate),
    key: fs.readFileSync(key),
    authMethods: ["PLAIN", "LOGIN", "CRAM-MD5"],
    onAuth(auth, session, callback) {
      const right =
        auth.username === user &&
        (auth.method === "CRAM-MD5" ? auth.validatePassword(password) : auth.password === password);
      if (!right) return callback(new Error("Wrong password"));
      return callback(null, { user });
    },
    onMailFrom: (address, session, callback) => callback(refusal(byName[name(address.address)])),
    onRcptTo: (address, session, callback) => callback(refusal(byName[name(address.address)])),
    onData(stream, session, callback) {
      const pieces = [];
      stream.on("data", (piece) => pieces.push(piece));
      stream.on("end", () => {
        const names = session.envelope.rcptTo.map((one) => name(one.address));
        const whole = behind[name(session.envelope.mailFrom.address)];
        const replies = names.map((one) => refusal(options.lmtp ? behind[one] : whole));
        const taken = names.filter((one, at) => !replies[at]);
        if (stream.sizeExceeded) return callback(refusal([552, "5.3.4 Too long"]));
        if (taken.length) {
          const file = path.join(folder, `${number++} ${taken.join(" ")}`);
          fs.writeFileSync(`${file}.part`, Buffer.concat(pieces));
          fs.renameSync(`${file}.part`, file);
        }
        if (options.lmtp) return callback(null, replies.map((one) => one || "2.0.0 Kept"));
        return callback(replies[0], "2.0.0 Kept");
      });
    },
    ...options,
  });
  server.on("error", () => {}); // a client that has left
  server.listen(Number(where), "127.0.0.1");
}

serve(port, {});
serve(smtps, { secure: true });
serve(lmtp, { lmtp: true, disabledCommands: ["AUTH", "STARTTLS"] });
