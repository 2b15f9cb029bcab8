// Backends on Express that answer with what they read as api_user and api_key. Writes their ports to stdout, one a line, and
// ends with its stdin.
const path = require('path');
const modules = process.argv[2];
const load = (name) => require(path.join(modules, name));
const multer = load('multer');

const read = (fields) => [fields?.api_user, fields?.api_key];

function serve(express, extended, parser) {
  const app = express();
  app.set('query parser', parser);
  app.use(express.urlencoded({ extended }));
  app.use(multer().any());
  app.use((request, response) => {
    const files = (request.files || []).filter((file) => /^api_(user|key)$/.test(file.fieldname));
    response.json([read(request.query), read(request.body), files]);
  });
  app.use((error, request, response, next) => {
    response.status(422).json(String(error));
  });
  return new Promise((resolve) => {
    const server = app.listen(0, '127.0.0.1', () => resolve(server.address().port));
    server.keepAliveTimeout = 60000;
  });
}

(async () => {
  const [four, five] = [load('express'), load('express5')];
  console.log(await serve(four, true, 'extended'));
  console.log(await serve(four, false, 'simple'));
  console.log(await serve(five, true, 'extended'));
  console.log(await serve(five, false, 'simple'));
})();
process.stdin.on('end', () => process.exit()).resume();
