// Sends a mail with the client as its users do: PORT FILE KEY, or PORT FILE USERNAME PASSWORD.

const sendgrid = require(process.env.CLIENT);
const [port, file, ...login] = process.argv.slice(2);
const client = sendgrid(...login, { protocol: 'http', host: '127.0.0.1', port });
const email = new client.Email({
  to: ['a@example.com', 'b@example.com'],
  from: 'c@example.com',
  subject: 'Grüße & more=1',
  text: 'Hello; world',
});
email.addFile({ filename: 'a b.bin', path: file });
client.send(email, (error, answer) => console.log(error ? `failed: ${error.message}` : JSON.stringify(answer)));
