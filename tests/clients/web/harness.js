// Runs scenarios in one Chromium against gateways that the test starts (tests/web/stage.rs). What a scenario needs from outside the
// browser it asks for by a line of JSON on stdout, and reads the answer from stdin; each result is a line too: {scenario, ok, detail}.
//   CLIENT, AXE     playwright-core and axe-core
//   IDENTITY        a directory with cert.pem and key.pem of all servers
//   ADDRESS         the address of every name below .test
//   ONLY            scenarios to run, separated by commas; all without it
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const fs = require('node:fs');
const readline = require('node:readline');
const { chromium } = require(process.env.CLIENT);
const { Server } = require('./server');

// Longer than anything takes that works.
const PATIENCE = 30_000;
// Scenarios that run at the same time. Most of the time they wait.
const AT_ONCE = 3;

const waiting = new Map();
let asked = 0;

function listen() {
  readline.createInterface({ input: process.stdin }).on('line', (line) => {
    const { id, answer, error } = JSON.parse(line);
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (error) reject(new Error(error));
    else resolve(answer);
  });
}

// Has the test do something, such as starting a gateway or running a command.
function ask(what, details = {}) {
  const id = asked += 1;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    process.stdout.write(`${JSON.stringify({ id, ask: what, ...details })}\n`);
  });
}

// A gateway before a dashboard, and its console; by TLS, or by cleartext if the scheme is http.
class Site {
  static async start({ name, scheme = 'https', auth = '', web = '', console = '', more = '', clock = '' }) {
    const site = new Site();
    Object.assign(site, { name, scheme, logins: 0 });
    site.dashboard = await Server.start();
    const upstream = `http://${process.env.ADDRESS}:${site.dashboard.port}`;
    const keys = { name, scheme, auth, web, console, more, clock, upstream };
    Object.assign(site, await ask('start', keys));
    // Browsers trust cleartext of these names only, and so does the gate.
    const domain = scheme === 'https' ? 'acme.test' : 'acme.localhost';
    site.app = `${scheme}://app.${domain}:${site.web_port}`;
    site.console = `${scheme}://console.${domain}:${site.console_port}`;
    return site;
  }

  command(...args) {
    return this.run(args, '');
  }

  // Runs the command line, which has to succeed.
  async run(args, input) {
    const { status, stdout, stderr } = await ask('command', { name: this.name, arguments: args, input });
    assert.equal(status, 0, `${args.join(' ')}: ${stderr}`);
    return stdout;
  }

  // Adds an account with a name of its own; { account, name, password }.
  async account(rights = 'email,api,web') {
    const login = this.invent('holder');
    await ask('account', { name: this.name, login: `${login.name}:${login.password}`, rights });
    return { ...login, account: login.name };
  }

  // Adds a credential with a name of its own to an account.
  async credential(permissions = 'web', account = 'acme') {
    const login = this.invent('user');
    await ask('credential', { name: this.name, account, login: `${login.name}:${login.password}`, permissions });
    return { ...login, account };
  }

  // Adds so many credentials to an account: PREFIX-001 and so on, with notes.
  fill(account, prefix, count) {
    return ask('fill', { name: this.name, account, prefix, count });
  }

  invent(kind) {
    const number = this.logins += 1;
    return { name: `${kind}-${number}`, password: `passw0rd-of-${kind}-${number}` };
  }

  logged(...words) {
    return ask('log', { name: this.name, words });
  }

  restart() {
    return ask('restart', { name: this.name });
  }

  // Sets how far the gateway's wall clock is from the right time, such as `+13h`. The site has `clock: 'set by the script'`.
  clock(offset) {
    return ask('clock', { name: this.name, offset });
  }
}

// What a scenario has: a browser context of its own, and what it expects to go wrong there.
class Trial {
  constructor(browser, sites) {
    Object.assign(this, { browser, sites, expected: [], allowed: new Set(), faults: [], contexts: [] });
  }

  get site() {
    return Object.values(this.sites)[0];
  }

  // A message of the browser's console that is no fault.
  expect(pattern) {
    this.expected.push(pattern);
  }

  // An origin other than the sites' that may be asked.
  allow(origin) {
    this.allowed.add(origin);
  }

  async context(options = {}) {
    const context = await this.browser.newContext(options);
    this.contexts.push(context);
    context.setDefaultTimeout(PATIENCE);
    context.on('console', (message) => {
      if (message.type() === 'error') this.fault(message.text(), message.location().url);
    });
    context.on('weberror', (event) => this.fault(String(event.error()), 'page error'));
    context.on('request', (request) => {
      const { origin, protocol } = new URL(request.url());
      const own = Object.values(this.sites).some((site) => [site.app, site.console].includes(origin));
      if (!own && !this.allowed.has(origin) && protocol !== 'data:' && protocol !== 'blob:') {
        this.faults.push(`asks ${request.url()}`);
      }
    });
    return context;
  }

  fault(text, place) {
    if (!this.expected.some((pattern) => pattern.test(text))) this.faults.push(`${text} (${place})`);
  }

  // A page in the context of this scenario, or in that one.
  async page(context) {
    this.main ||= await this.context();
    return (context || this.main).newPage();
  }

  // A server of others, with pages by path; its origin may be asked.
  async server(host, pages = {}, scheme = this.site.scheme) {
    const server = await Server.start({ pages, scheme });
    const origin = `${scheme}://${host}:${server.port}`;
    this.allow(origin);
    return Object.assign(server, { origin });
  }

  async close() {
    await Promise.all(this.contexts.map((context) => context.close()));
  }
}

// Fills the form that is shown and sends it.
async function logIn(page, { name, password }) {
  await page.locator('input[name=username]').fill(name);
  await page.locator('input[name=password]').fill(password);
  await press(page, 'Log in');
  await ledOn(page);
}

// Waits until the page behind a login of the gate has led on, or says that it doesn't.
async function ledOn(page) {
  const isBehind = (url) => !new URL(url).searchParams.has('sent');
  if (isBehind(page.url())) return;
  await Promise.race([page.waitForURL(isBehind), page.locator('#problem').waitFor()]);
}

// Presses the button or follows the link of that name, and waits for the page that comes.
async function press(page, name, role = 'button') {
  const pressed = page.getByRole(role, typeof name === 'string' ? { name, exact: true } : { name });
  await Promise.all([page.waitForNavigation(), pressed.first().click()]);
  await page.waitForLoadState();
}

// Asks for the logout, and logs out.
async function logOut(page, url) {
  await page.goto(url);
  await press(page, 'Log out');
}

// Waits until a condition holds. For what no event tells.
async function until(what, holds) {
  const deadline = Date.now() + PATIENCE;
  while (!(await holds())) {
    assert.ok(Date.now() < deadline, `never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const hash = (file) => {
  const key = new crypto.X509Certificate(fs.readFileSync(file)).publicKey;
  return crypto.createHash('sha256').update(key.export({ type: 'spki', format: 'der' })).digest('base64');
};

function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    chromiumSandbox: false,
    args: [
      '--disable-gpu',
      '--disable-quic',
      '--disable-dev-shm-usage',
      `--host-resolver-rules=MAP *.test ${process.env.ADDRESS}, MAP *.localhost ${process.env.ADDRESS}`,
      `--ignore-certificate-errors-spki-list=${hash(`${process.env.IDENTITY}/cert.pem`)}`,
    ],
  });
}

async function attempt(browser, sites, [name, act]) {
  const trial = new Trial(browser, sites);
  const began = Date.now();
  let overdue;
  try {
    const late = new Promise((_, reject) => {
      overdue = setTimeout(() => reject(new Error('it takes too long')), 6 * PATIENCE);
    });
    await Promise.race([act(trial), late]);
    assert.deepEqual(trial.faults, [], 'nothing goes wrong in the browser');
    return { scenario: name, ok: true, detail: `${Date.now() - began} ms` };
  } catch (error) {
    const faults = trial.faults.length ? `\nin the browser: ${trial.faults.join('\n')}` : '';
    return { scenario: name, ok: false, detail: `${error.stack}${faults}` };
  } finally {
    clearTimeout(overdue);
    await trial.close().catch(() => {});
  }
}

// Starts the sites and the browser, and runs the scenarios. `sites` maps names to what [Site.start] takes; the first is a trial's
// `site`. `scenarios` maps names to functions of a trial.
async function run(sites, scenarios) {
  listen();
  const only = process.env.ONLY ? process.env.ONLY.split(',') : Object.keys(scenarios);
  const left = Object.entries(scenarios).filter(([name]) => only.includes(name));
  const started = {};
  for (const [name, settings] of Object.entries(sites)) started[name] = await Site.start({ name, ...settings });
  const browser = await launch();
  const work = async () => {
    while (left.length) {
      const result = await attempt(browser, started, left.shift());
      process.stdout.write(`${JSON.stringify(result)}\n`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  await browser.close();
  process.exit(0);
}

module.exports = { PATIENCE, ask, assert, logIn, logOut, press, run, until };
