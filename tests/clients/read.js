// Reads requests with the parsers of Node.js. Each line of stdin is a JSON object: the query and body in base64, the type or null,
// and the method. Each line of stdout tells, for each parser that finds one, what it reads as api_user and api_key.
const path = require('path');
const readline = require('readline');
const { Readable } = require('stream');
const modules = process.argv[2];
const load = (name) => require(path.join(modules, name));
const [four, five, multer, busboy] = ['express', 'express5', 'multer', 'busboy'].map(load);
const formidable = load('formidable');

function request({ type, body, method }) {
  const bytes = Buffer.from(body, 'base64');
  const stream = Readable.from(bytes.length ? [bytes] : []);
  stream.headers = { 'content-length': String(bytes.length) };
  if (type !== null) stream.headers['content-type'] = type;
  stream.method = method;
  return stream;
}

function found(fields, files = []) {
  const read = [];
  for (const name of ['api_user', 'api_key']) {
    if (fields && fields[name] !== undefined) read.push(`${name}=${JSON.stringify(fields[name])}`);
    if (files.includes(name)) read.push(`${name}=file`);
  }
  return read;
}

const middleware = (handler) => (input) =>
  new Promise((resolve) => {
    const incoming = request(input);
    handler(incoming, {}, () =>
      resolve(found(incoming.body, (incoming.files || []).map((file) => file.fieldname))),
    );
  });

function withBusboy(input) {
  return new Promise((resolve) => {
    const [fields, files] = [{}, []];
    const incoming = request(input);
    let parser;
    try {
      parser = busboy({ headers: incoming.headers });
    } catch {
      return resolve([]);
    }
    const end = () => resolve(found(fields, files));
    parser.on('field', (name, value) => (fields[name] = (fields[name] || []).concat(value)));
    parser.on('file', (name, file) => files.push(name) && file.resume());
    parser.on('error', end).on('close', end);
    incoming.pipe(parser);
  });
}

async function withFormidable(input) {
  const form = formidable.formidable({ allowEmptyFiles: true, minFileSize: 0 });
  const [fields, files] = [{}, []];
  form.on('field', (name, value) => (fields[name] = (fields[name] || []).concat(value)));
  form.on('file', (name) => files.push(name));
  await form.parse(request(input)).catch(() => {});
  return found(fields, files);
}

const query = (express, kind) => {
  const parse = load(`${express}/lib/utils`).compileQueryParser(kind);
  return ({ query }) => found(parse(Buffer.from(query, 'base64').toString('latin1')));
};

const parsers = {
  'express4 query': query('express', 'extended'),
  'express4 simple query': query('express', 'simple'),
  'express5 query': query('express5', 'extended'),
  'express5 simple query': query('express5', 'simple'),
  'URLSearchParams query': ({ query }) =>
    found(Object.fromEntries(new URLSearchParams(Buffer.from(query, 'base64').toString('latin1')))),
  express4: middleware(four.urlencoded({ extended: true })),
  'express4 simple': middleware(four.urlencoded({ extended: false })),
  express5: middleware(five.urlencoded({ extended: true })),
  'express5 simple': middleware(five.urlencoded({ extended: false })),
  multer: middleware(multer().any()),
  busboy: withBusboy,
  formidable: withFormidable,
};

// A parser that waits for the rest of a broken body reads nothing.
const within = (promise) => Promise.race([promise, new Promise((resolve) => setTimeout(resolve, 300, []))]);

async function readings(line) {
  const [input, all] = [JSON.parse(line), {}];
  for (const [name, parser] of Object.entries(parsers)) {
    let read = [];
    if (!(name.endsWith(' query') ? input.query : input.body)) continue;
    try {
      read = await within(parser(input));
    } catch {
      // It refuses the request.
    }
    if (read.length) all[name] = read;
  }
  return JSON.stringify(all);
}

process.on('uncaughtException', () => {});
(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) console.log(await readings(line));
  process.exit();
})();
