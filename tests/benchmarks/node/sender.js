// nodemailer, pooled where there is more than one message in a session; see ../senders/load.py.
'use strict';

const nodemailer = require('nodemailer');

const [port, sessions, messages, octets] = process.argv.slice(2).map(Number);
const header = [
    'From: <sender@example.com>',
    'To: <recipient@example.com>',
    'Subject: a benchmark',
    'Date: Sat, 28 Nov 2026 12:00:00 +0000',
    'Message-ID: <1@example.com>',
    '', ''
].join('\r\n');
const line = 'x'.repeat(70) + '\r\n';
const lines = Math.max(1, Math.floor((octets - header.length) / line.length));
const message = {
    envelope: { from: 'sender@example.com', to: ['recipient@example.com'] },
    raw: Buffer.from(header + line.repeat(lines))
};
const options = { host: '127.0.0.1', port, secure: false, ignoreTLS: true, logger: false };

async function send(sessions, messages) {
    for (let i = 0; i < sessions; i++) {
        const transport = nodemailer.createTransport(messages === 1 ? options : {
            ...options, pool: true, maxConnections: 1, maxMessages: Infinity
        });
        const sending = [];
        for (let j = 0; j < messages; j++) sending.push(transport.sendMail(message));
        await Promise.all(sending);
        transport.close();
    }
}

(async () => {
    if (messages === 1) await send(Math.max(1, Math.floor(sessions / 10)), 1);
    else await send(1, Math.max(1, Math.floor(messages / 10)));
    const cpu = process.cpuUsage();
    const began = process.hrtime.bigint();
    await send(sessions, messages);
    const used = process.cpuUsage(cpu);
    console.log((used.user + used.system) / 1e6, Number(process.hrtime.bigint() - began) / 1e9);
})();
