// Sends standard input as one message, exactly as it is:
//   node send.js '{"host": "127.0.0.1", "port": 10025, ...}' FROM TO...
// The first argument is what nodemailer.createTransport takes.
"use strict";

const nodemailer = require("nodemailer");

const [transport, from, ...to] = process.argv.slice(2);
const pieces = [];
process.stdin.on("data", (piece) => pieces.push(piece));
process.stdin.on("end", async () => {
  try {
    const sent = await nodemailer
      .createTransport(JSON.parse(transport))
      .sendMail({ envelope: { from, to }, raw: Buffer.concat(pieces) });
    console.log(sent.response);
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
});
