// HTTP servers of the scenarios: the dashboard behind the gate, and sites of others. Each records what it receives.
const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');

const identity = () => {
  const read = (name) => fs.readFileSync(`${process.env.IDENTITY}/${name}`);
  return { cert: read('cert.pem'), key: read('key.pem') };
};

const plain = (title, rest = '') => `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${title}</title>
<link rel="icon" href="data:,"></head><body><main><h1>${title}</h1>${rest}</main></body></html>`;

// A page of a dashboard that says how it was asked for.
const dashboard = plain('Dashboard', `<p id="where"></p><form method="post" action="/orders"><input name="item" value="book">
<button>Order</button></form><script>document.getElementById('where').textContent = location.href;</script>`);

class Server {
  // `pages` maps paths to HTML, or to functions of the request that give { status, headers, body }; any other path is the dashboard.
  static async start({ pages = {}, scheme = 'http' } = {}) {
    const server = new Server();
    Object.assign(server, { pages, received: [], sockets: new Set() });
    const answer = (request, response) => server.answer(request, response);
    const listener = scheme === 'https' ? https.createServer(identity(), answer) : http.createServer(answer);
    listener.on('upgrade', (request, socket) => server.upgrade(request, socket));
    await new Promise((resolve) => listener.listen(0, process.env.ADDRESS, resolve));
    server.port = listener.address().port;
    return server;
  }

  answer(request, response) {
    let body = '';
    request.on('data', (piece) => { body += piece; });
    request.on('end', () => {
      const { method, url, headers } = request;
      this.received.push({ method, url, headers, body });
      const page = this.pages[url.split('?')[0]] ?? dashboard;
      const made = typeof page === 'function' ? page(request, body) : { body: page };
      response.writeHead(made.status || 200, { 'Content-Type': 'text/html; charset=utf-8', ...made.headers });
      response.end(made.body || '');
    });
  }

  // The requests that came for paths that begin so.
  asked(path) {
    return this.received.filter(({ url }) => url.startsWith(path));
  }

  // A WebSocket that says hello and stays open. `closed` tells when it ended.
  upgrade(request, socket) {
    const { method, url, headers } = request;
    this.received.push({ method, url, headers, body: '' });
    const accept = crypto
      .createHash('sha1')
      .update(`${headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest('base64');
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
        `Sec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    socket.write(Buffer.from([0x81, 5, ...Buffer.from('hello')]));
    this.sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', () => {});
    socket.on('close', () => this.sockets.delete(socket));
  }
}

module.exports = { Server, plain };
