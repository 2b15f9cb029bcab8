// Sends mails with nodemailer over one pool of one connection: PORT SECURE USERNAME PASSWORD CA. Each line of its input is the
// size of an attachment, and sends one mail with it, also to the address behind the size if there is one; each line of its
// output is what became of one.

const fs = require('fs');
const readline = require('readline');
const nodemailer = require(process.env.CLIENT);

const [port, secure, user, pass, ca] = process.argv.slice(2);
const transport = nodemailer.createTransport({
  // Not by its name, which nodemailer asks the network for.
  host: '127.0.0.1',
  port: Number(port),
  secure: secure === 'true',
  requireTLS: true,
  pool: true,
  maxConnections: 1,
  auth: { user, pass },
  tls: { ca: fs.readFileSync(ca), servername: 'localhost' },
});

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [size, also] = line.split(' ');
    const content = Buffer.alloc(Number(size), Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)));
    const mail = {
      from: 'joe@example.com',
      to: 'jane@example.com',
      subject: 'hello',
      text: 'Grüße\n.\nend',
      ...(also && { envelope: { from: 'joe@example.com', to: [also, 'jane@example.com'] } }),
      attachments: content.length ? [{ filename: 'a b.bin', content }] : [],
    };
    try {
      console.log((await transport.sendMail(mail)).response);
    } catch (error) {
      console.log(error.response || error.message);
    }
  }
  transport.close();
})();
