// Backends that resolve paths in their own ways: `PROTECTED` where a protected route answers, else what they saw. Writes their
// ports to stdout, one a line, and ends with its stdin.
const http = require('http');
const path = require('path');
const modules = process.argv[2];
const load = (name) => require(path.join(modules, name));

const PROTECTED = ['/api/mail.send.json', '/send.php', '/v1/send'];
const is = (seen) => PROTECTED.includes(seen);
const answer = (response, request, found) => response.end(`${found ? 'PROTECTED' : 'other'} RAW:${request.url}\n`);

function listen(server) {
  server.keepAliveTimeout = 60000;
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server.address().port)));
}

function expressApp(express) {
  const app = express();
  PROTECTED.forEach((route) => app.all(route, (request, response) => answer(response, request, true)));
  app.all('/:one/:two', (request, response) => {
    answer(response, request, is(`/${request.params.one}/${request.params.two}`));
  });
  app.all('/:one', (request, response) => answer(response, request, is(`/${request.params.one}`)));
  app.use((request, response) => answer(response, request, is(request.path)));
  app.use((error, request, response, next) => answer(response, request, false));
  return http.createServer(app);
}

// Mounted handlers take what is below a path, too.
function mounted(express) {
  const app = express();
  PROTECTED.forEach((route) => app.use(route, (request, response) => {
    response.end(`PROTECTED RAW:${request.originalUrl}\n`);
  }));
  app.use((request, response) => answer(response, request, false));
  app.use((error, request, response, next) => answer(response, request, false));
  return http.createServer(app);
}

// What programs without a framework do with `request.url`.
function plain() {
  const decoded = (text) => {
    try {
      return decodeURIComponent(text);
    } catch {
      return text;
    }
  };
  return http.createServer((request, response) => {
    const seen = [request.url.split('?')[0]];
    try {
      seen.push(new URL(request.url, 'http://host').pathname);
    } catch {
      // It is none.
    }
    seen.push(require('url').parse(request.url).pathname || '');
    seen.push(...seen.map(decoded), ...seen.map((one) => unescape(one)));
    for (const one of [...seen]) {
      try {
        seen.push(new URL(one, 'http://host').pathname);
      } catch {
        // It is none.
      }
    }
    seen.push(...seen.map((one) => path.posix.normalize(one)));
    answer(response, request, seen.some(is));
  });
}

async function fastify(create) {
  const app = create();
  PROTECTED.forEach((route) => app.all(route, (request, reply) => reply.send(`PROTECTED RAW:${request.raw.url}\n`)));
  app.all('/*', (request, reply) => {
    reply.send(`${is(`/${request.params['*']}`) ? 'PROTECTED' : 'other'} RAW:${request.raw.url}\n`);
  });
  await app.listen({ port: 0, host: '127.0.0.1' });
  return app.server.address().port;
}

function koa(Koa, Router) {
  const app = new Koa();
  const router = new Router();
  PROTECTED.forEach((route) => router.all(route, (context) => {
    context.body = `PROTECTED RAW:${context.req.url}\n`;
  }));
  app.use(router.routes());
  app.use((context) => {
    context.body = `other RAW:${context.req.url}\n`;
  });
  return http.createServer(app.callback());
}

(async () => {
  const [four, five] = [load('express'), load('express5')];
  console.log(await listen(expressApp(four)));
  console.log(await listen(expressApp(five)));
  console.log(await listen(mounted(four)));
  console.log(await listen(mounted(five)));
  console.log(await listen(plain()));
  console.log(await fastify(load('fastify')));
  console.log(await listen(koa(load('koa'), load('@koa/router').Router || load('@koa/router'))));
})();
process.stdin.on('end', () => process.exit()).resume();
