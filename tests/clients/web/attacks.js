// Hostile pages: what a dashboard, a sibling of it and another site try in the browser of one that is logged in. Each attack is also
// tried where nothing defends, which shows that it works.
const { assert, logIn, logOut, press, run, until } = require('./harness');
const { Server, plain } = require('./server');

const LOGIN = '/-/gatepost/login';
const LOGOUT = '/-/gatepost/logout';
const SIBLING = 'sibling.acme.test';
const OTHER = 'evil.test';
const COOKIE = '__Host-gatepost';
const CONSOLE_COOKIE = '__Host-gatepost-console';

// What a browser says of what it was kept from.
const blocked = /CORS policy|Content Security Policy|ERR_BLOCKED|ERR_FAILED|status of 40[0-9]|Refused to|MIME type|WebSocket connection/;

// A site whose pages may open WebSockets of the dashboard.
let partner;

const isLogin = (page) => ['/login', LOGIN].includes(new URL(page.url()).pathname);
const cookie = async (context, url, name) => (await context.cookies(url)).find((cookie) => cookie.name === name);
const heading = (page) => page.locator('h1').first().innerText();

// Logs in at the gate and at the console, in one browser. The page is that of the dashboard.
async function enter(t, site, holder) {
  const console = await t.page();
  await console.goto(site.console);
  await logIn(console, holder);
  assert.ok(!isLogin(console), console.url());
  const page = await t.page();
  await page.goto(site.app);
  await logIn(page, holder);
  assert.equal(await heading(page), 'Dashboard');
  return { page, console };
}

// Gives what a script reads at a URL, or the name of the error.
const read = (page, url, options = { credentials: 'include' }) =>
  page.evaluate(async ([url, options]) => {
    try {
      const answer = await fetch(url, options);
      return `${answer.status} ${await answer.text()}`;
    } catch (error) {
      return error.name;
    }
  }, [url, options]);

// Sends a form from a page, as its own script could. Gives the answer to it, before any redirect.
async function post(page, action, fields) {
  const send = ([action, fields]) => {
    const form = document.createElement('form');
    Object.assign(form, { method: 'post', action });
    for (const [name, value] of fields) {
      const field = document.createElement('input');
      Object.assign(field, { type: 'hidden', name, value });
      form.append(field);
    }
    document.body.append(form);
    form.submit();
  };
  const [arrived] = await Promise.all([page.waitForNavigation(), page.evaluate(send, [action, fields])]);
  let request = arrived.request();
  while (request.redirectedFrom()) request = request.redirectedFrom();
  return request.response();
}

// The fields of the form that a page shows, with what a person filled in.
const fieldsOf = (page, form = 'main form') =>
  page.locator(form).first().evaluate((form) => [...new FormData(form)].map(([name, value]) => [name, String(value)]));

// The names of an account's credentials.
async function names(site, account) {
  return JSON.parse(await site.command('credential', 'list', '--account', account, '--json')).map(({ name }) => name);
}

// Loads a URL in a frame, and gives the text that is shown there.
async function framed(page, url) {
  const loaded = page.evaluate((url) => new Promise((resolve) => {
    const frame = document.createElement('iframe');
    frame.onload = () => resolve();
    frame.src = url;
    document.body.append(frame);
  }), url);
  await loaded;
  const frame = page.frames().at(-1);
  const text = await frame.locator('body').innerText();
  return /refused to connect/.test(text) ? '' : text;
}

// Opens a WebSocket; gives what it says first, or `refused`.
const socket = (page, url) =>
  page.evaluate((url) => new Promise((resolve) => {
    const socket = new WebSocket(url);
    socket.onmessage = ({ data }) => { resolve(data); socket.close(); };
    socket.onerror = () => resolve('refused');
  }), url.replace(/^http/, 'ws'));

const scenarios = {
  async the_console_is_not_read(t) {
    const { site } = t;
    t.expect(blocked);
    const holder = await site.account();
    const { page } = await enter(t, site, holder);
    const lenient = (request) => ({
      headers: { 'Access-Control-Allow-Origin': request.headers.origin, 'Access-Control-Allow-Credentials': 'true' },
      body: 'open',
    });
    const open = await t.server(OTHER, { '/open': lenient });
    const neighbour = await t.server(SIBLING);
    const sibling = await t.page();
    await sibling.goto(`${neighbour.origin}/`);
    for (const from of [page, sibling]) {
      assert.equal(await read(from, `${open.origin}/open`), '200 open', 'the attack works where nothing defends');
      for (const path of ['/', '/credentials', '/credentials/add', '/sessions', '/api/v1/credentials', '/api/v1/openapi.json']) {
        assert.equal(await read(from, site.console + path), 'TypeError', path);
      }
      const simple = { credentials: 'include', method: 'POST', body: new URLSearchParams({ a: 'b' }).toString() };
      assert.equal(await read(from, `${site.console}/credentials/add`, simple), 'TypeError');
    }
    // As a script, an image or a stylesheet it is nothing either.
    const loads = (kind, url) => page.evaluate(([kind, url]) => new Promise((resolve) => {
      const element = document.createElement(kind);
      element.onload = () => resolve('loaded');
      element.onerror = () => resolve('failed');
      if (kind === 'link') Object.assign(element, { rel: 'stylesheet', href: url });
      else element.src = url;
      document.body.append(element);
    }), [kind, url]);
    open.pages['/script.js'] = () => ({ headers: { 'Content-Type': 'text/javascript' }, body: 'window.loaded = 1;' });
    assert.equal(await loads('script', `${open.origin}/script.js`), 'loaded', 'the attack works where nothing defends');
    assert.equal(await loads('script', `${site.console}/credentials`), 'failed');
    assert.equal(await loads('script', `${site.console}/api/v1/credentials`), 'failed');
  },

  // A session is good at its own entry only.
  async a_cookie_of_one_entry_is_worth_nothing_at_the_other(t) {
    const { site } = t;
    const holder = await site.account();
    await enter(t, site, holder);
    const gate = await cookie(t.main, site.app, COOKIE);
    const console = await cookie(t.main, site.console, CONSOLE_COOKIE);
    const swapped = await t.context();
    await swapped.addCookies([{ ...gate, value: console.value }, { ...console, value: gate.value }]);
    const page = await t.page(swapped);
    for (const url of [site.app, site.console]) {
      await page.goto(url);
      assert.ok(isLogin(page), page.url());
    }
    const kept = await t.context();
    await kept.addCookies([gate, console]);
    const control = await t.page(kept);
    for (const url of [site.app, site.console]) {
      await control.goto(url);
      assert.ok(!isLogin(control), 'the attack works with the right ones');
    }
  },

  async no_service_worker_comes_over_the_login(t) {
    const worker = `self.addEventListener('install', () => self.skipWaiting());
      self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
      self.addEventListener('fetch', (event) => { if (event.request.mode === 'navigate') {
        event.respondWith(new Response('<!doctype html><title>x</title><h1>Replaced</h1>', { headers: { 'Content-Type': 'text/html' } }));
      } });`;
    const register = (page, path) => page.evaluate(async (path) => {
      try {
        const registration = await navigator.serviceWorker.register(path, { scope: '/' });
        const worker = registration.installing || registration.waiting || registration.active;
        if (worker.state !== 'activated') {
          await new Promise((resolve) => { worker.onstatechange = () => worker.state === 'activated' && resolve(); });
        }
        return 'registered';
      } catch (error) {
        return error.name;
      }
    }, path);
    t.expect(blocked);
    t.expect(/service worker|ServiceWorker|bad HTTP response|unsupported MIME/i);
    const serve = (fields = {}) => () => ({ headers: { 'Content-Type': 'text/javascript', ...fields }, body: worker });
    const result = {};
    for (const [name, site] of [['site', t.sites.site], ['lenient', t.sites.lenient]]) {
      const pages = { '/worker.js': serve(), '/deep/worker.js': serve({ 'Service-Worker-Allowed': '/' }) };
      Object.assign(site.dashboard.pages, pages);
      const context = await t.context();
      const page = await t.page(context);
      await page.goto(site.app);
      await logIn(page, await site.credential('web'));
      result[name] = [await register(page, '/deep/worker.js'), await register(page, '/worker.js')];
      const login = await t.page(context);
      await login.goto(site.app + LOGIN);
      result[name].push(await heading(login));
    }
    assert.deepEqual(result.lenient, ['registered', 'registered', 'Replaced'], 'the attack works where it is allowed');
    assert.ok(!result.site.includes('registered'), result.site.join());
    assert.notEqual(result.site[2], 'Replaced');
    const asked = ['/worker.js', '/deep/worker.js'].flatMap((path) => t.sites.site.dashboard.asked(path));
    assert.deepEqual(asked, [], 'the backend was not even asked for the script');
  },

  async a_logout_takes_what_the_dashboard_has_stored(t) {
    const site = t.sites.lenient;
    site.dashboard.pages['/quiet.js'] = () => ({
      headers: { 'Content-Type': 'text/javascript' },
      body: "self.addEventListener('install', () => self.skipWaiting());",
    });
    const page = await t.page();
    await page.goto(site.app);
    await logIn(page, await site.credential('web'));
    const stored = () => page.evaluate(async () => [
      localStorage.length,
      (await navigator.serviceWorker.getRegistrations()).length,
      (await caches.keys()).length,
    ]);
    await page.evaluate(async () => {
      localStorage.setItem('kept', 'x');
      await caches.open('kept');
      await navigator.serviceWorker.register('/quiet.js');
    });
    assert.deepEqual(await stored(), [1, 1, 1]);
    await logOut(page, site.app + LOGOUT);
    await until('it is cleared', async () => String(await stored()) === '0,0,0');
  },

  async no_page_is_framed(t) {
    const { site } = t;
    t.expect(blocked);
    const { page } = await enter(t, site, await site.account());
    const sibling = await t.server(SIBLING, { '/': plain('Sibling') });
    const other = await t.server(OTHER, { '/': plain('Other') });
    const pages = [page];
    for (const server of [sibling, other]) {
      pages.push(await t.page());
      await pages.at(-1).goto(`${server.origin}/`);
    }
    for (const from of pages) {
      assert.match(await framed(from, `${sibling.origin}/`), /Sibling/, 'the attack works where nothing defends');
      for (const url of [site.app + LOGOUT, site.console, `${site.console}/credentials/add`]) {
        assert.equal(await framed(from, url), '', `${from.url()} frames ${url}`);
      }
    }
    // The logins, of one who is not logged in.
    const stranger = await t.page(await t.context());
    for (const server of [sibling, other]) {
      await stranger.goto(`${server.origin}/`);
      for (const url of [site.app, site.app + LOGIN, `${site.console}/login`]) {
        assert.equal(await framed(stranger, url), '', `${stranger.url()} frames ${url}`);
      }
    }
  },

  async no_window_reaches_into_another(t) {
    const { site } = t;
    const { page } = await enter(t, site, await site.account());
    const other = await t.server(OTHER, { '/': plain('Other'), '/second': plain('Second') });
    const foreign = await t.page();
    await foreign.goto(`${other.origin}/`);
    const reached = async (from, url) => {
      const [popup] = await Promise.all([
        from.waitForEvent('popup'),
        from.evaluate((url) => { window.opened = window.open(url); }, url),
      ]);
      await popup.waitForLoadState();
      const shown = await from.evaluate(() => {
        try {
          return window.opened.closed ? 'severed' : window.opened.document.title;
        } catch (error) {
          return error.name;
        }
      });
      await popup.close();
      return shown;
    };
    assert.equal(await reached(foreign, `${other.origin}/second`), 'Second', 'the attack works where nothing defends');
    for (const url of [site.app + LOGOUT, site.console, `${site.console}/credentials/add`]) {
      assert.equal(await reached(foreign, url), 'severed', url);
      // Not even the dashboard, which has the same origin as the gate's own pages.
      assert.equal(await reached(page, url), 'severed', `${url} from the dashboard`);
    }
  },

  async a_backend_does_not_set_the_cookie(t) {
    const { site } = t;
    const user = await site.credential('web');
    site.dashboard.pages['/plant'] = () => ({
      headers: {
        'Set-Cookie': [
          `${COOKIE}=1.planted; Path=/; Secure; HttpOnly`,
          `${COOKIE}=; Path=/; Secure; Max-Age=0`,
          'planted=yes; Path=/; Secure',
        ],
      },
      body: plain('Planted'),
    });
    const page = await t.page();
    await page.goto(`${site.app}/plant`);
    await logIn(page, user);
    assert.equal(await heading(page), 'Planted');
    const before = await cookie(t.main, site.app, COOKIE);
    await page.goto(`${site.app}/plant`);
    assert.equal((await cookie(t.main, site.app, 'planted')).value, 'yes', 'the attack works with another name');
    assert.equal((await cookie(t.main, site.app, COOKIE)).value, before.value);
    // Nor does its script, while there is one that scripts do not see.
    await page.evaluate((name) => { document.cookie = `${name}=1.planted; Path=/; Secure`; }, COOKIE);
    assert.equal((await cookie(t.main, site.app, COOKIE)).value, before.value);
    assert.ok(!(await page.evaluate(() => document.cookie)).includes(COOKIE), 'scripts do not see it');
    // The backend gets its own cookies, without the gate's.
    await page.goto(`${site.app}/cookies-${user.name}`);
    assert.equal(site.dashboard.asked(`/cookies-${user.name}`)[0].headers.cookie, 'planted=yes');
  },

  async a_sibling_does_not_set_the_cookie(t) {
    const { site } = t;
    t.expect(blocked);
    const attacker = await site.credential('web');
    const victim = await site.credential('web');
    const own = await t.context();
    const planted = await t.page(own);
    await planted.goto(site.app);
    await logIn(planted, attacker);
    const { value } = await cookie(own, site.app, COOKIE);
    const lines = [COOKIE, COOKIE.toLowerCase(), `=${COOKIE}`, 'control'].map((name) => `${name}=${value}; Domain=acme.test; Path=/; Secure`);
    const sibling = await t.server(SIBLING, { '/': () => ({ headers: { 'Set-Cookie': lines }, body: plain('Sibling') }) });
    const page = await t.page();
    await page.goto(`${sibling.origin}/`);
    await page.evaluate((lines) => { for (const line of lines) document.cookie = line; }, lines);
    assert.equal((await cookie(t.main, site.app, 'control')).value, value, 'the attack works with another name');
    await page.goto(`${site.app}/fixed`);
    assert.ok(isLogin(page), 'the session of the attacker is not taken');
    await logIn(page, victim);
    await page.goto(`${site.app}/of-${victim.name}`);
    assert.equal(site.dashboard.asked(`/of-${victim.name}`)[0].headers['x-gatepost-user'], victim.name);
  },

  // A cookie that was there before the login is not that of the session afterwards.
  async a_session_is_not_fixed(t) {
    const { site } = t;
    const attacker = await site.credential('web');
    const victim = await site.credential('web');
    const own = await t.context();
    const theirs = await t.page(own);
    await theirs.goto(site.app);
    await logIn(theirs, attacker);
    const fixed = await cookie(own, site.app, COOKIE);
    const [id] = fixed.value.split('.');
    for (const value of [fixed.value, `${id}.${'A'.repeat(43)}`]) {
      const context = await t.context();
      const page = await t.page(context);
      await page.goto(site.app + LOGIN);
      const form = await page.locator('form').first();
      await form.waitFor();
      await context.addCookies([{ ...fixed, value }]);
      await logIn(page, victim);
      const now = await cookie(context, site.app, COOKIE);
      assert.notEqual(now.value, value);
      await page.goto(`${site.app}/who-${victim.name}`);
      assert.equal(site.dashboard.asked(`/who-${victim.name}`).at(-1).headers['x-gatepost-user'], victim.name);
    }
    // The one that the attacker knows stays the attacker's, or nobody's.
    await theirs.goto(`${site.app}/who-${attacker.name}`);
    assert.ok(site.dashboard.asked(`/who-${attacker.name}`).every(({ headers }) => headers['x-gatepost-user'] === attacker.name));
  },

  // A script can't overwrite the session's cookie, but put a partitioned one of that name beside it.
  async a_partitioned_cookie_is_no_session(t) {
    const { site } = t;
    t.expect(blocked);
    const attacker = await site.credential('web');
    const victim = await site.credential('web');
    const own = await t.context();
    const theirs = await t.page(own);
    await theirs.goto(site.app);
    await logIn(theirs, attacker);
    const { value } = await cookie(own, site.app, COOKIE);
    const plant = (page, value) =>
      page.evaluate((line) => { document.cookie = line; }, `${COOKIE}=${value}; Path=/; Secure; Partitioned`);
    const planted = async () => (await t.main.cookies(site.app)).filter(({ name }) => name === COOKIE).length;
    const page = await t.page();
    await page.goto(site.app);
    await logIn(page, victim);
    for (const [number, cookie] of [value, 'rubbish'].entries()) {
      await plant(page, cookie);
      assert.equal(await planted(), 2, 'the script can do it');
      await page.goto(`${site.app}/beside-${number}`);
      assert.ok(isLogin(page), page.url());
      assert.equal(await planted(), 1, 'the login page removes it');
      await page.goto(`${site.app}/beside-${number}`);
      assert.ok(!isLogin(page), 'the session is as it was');
    }
    assert.ok(site.dashboard.asked('/beside-').every(({ headers }) => headers['x-gatepost-user'] === victim.name));
    await page.goto(site.app + LOGOUT);
    await plant(page, value);
    await press(page, 'Log out');
    assert.equal(await planted(), 0, 'the logout removes both');
    await page.goto(`${site.app}/after`);
    assert.ok(isLogin(page), page.url());
    await plant(page, 'rubbish');
    await logIn(page, victim);
    assert.ok(!isLogin(page), page.url());
    assert.equal(await planted(), 1, 'the login removes it');
  },

  async tampered_cookies(t) {
    const { site } = t;
    const user = await site.credential('web');
    const page = await t.page();
    await page.goto(site.app);
    await logIn(page, user);
    const good = await cookie(t.main, site.app, COOKIE);
    const [id, token] = good.value.split('.');
    assert.match(id, /^\d+$/);
    assert.match(token, /^[A-Za-z0-9_-]{43}$/);
    const flipped = (at) => token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1);
    const values = [
      `${Number(id) + 1}.${token}`, `1.${token}`, `0${id}.${token}`, `+${id}.${token}`, `-${id}.${token}`, `${id}.${flipped(0)}`,
      `${id}.${flipped(20)}`, `${id}.${flipped(41)}`, `${id}.${token.slice(0, 42)}`, `${id}.${token}A`, `${id}.${token}=`,
      `${id}.`, `.${token}`, token, id, `${id}.${token}.${token}`, `${id}.${'A'.repeat(43)}`, `${id}.${'A'.repeat(3000)}`,
      `99999999999999999999.${token}`, `"${good.value}"`, `${id}.${token.toLowerCase()}`, `${id}%2E${token}`,
    ].filter((value) => value !== good.value && value !== '');
    const context = await t.context();
    const tampered = await t.page(context);
    for (const [number, value] of values.entries()) {
      await context.addCookies([{ ...good, value }]);
      await tampered.goto(`${site.app}/tampered-${number}`);
      assert.ok(isLogin(tampered), value);
    }
    assert.deepEqual(site.dashboard.asked('/tampered-'), []);
    await context.addCookies([good]);
    await tampered.goto(`${site.app}/good`);
    assert.ok(!isLogin(tampered), 'the right one is taken');
  },

  async replayed_cookies_after_a_logout_and_a_restart(t) {
    const site = t.sites.restarted;
    const open = async (context) => {
      const page = await t.page(context);
      await page.goto(`${site.app}/replayed`);
      return !isLogin(page);
    };
    const logins = [];
    for (let number = 0; number < 2; number += 1) {
      const context = await t.context();
      const page = await t.page(context);
      await page.goto(site.app);
      await logIn(page, await site.credential('web'));
      logins.push({ context, page, cookie: await cookie(context, site.app, COOKIE) });
    }
    const [ended, kept] = logins;
    await logOut(ended.page, site.app + LOGOUT);
    const replay = async ({ cookie }) => {
      const context = await t.context();
      await context.addCookies([cookie]);
      return open(context);
    };
    assert.deepEqual([await replay(ended), await replay(kept)], [false, true]);
    await site.restart();
    assert.deepEqual([await replay(ended), await replay(kept)], [false, true], 'a restart logs nobody out, and nobody in');
    assert.ok(await open(kept.context));
  },

  async forms_of_other_sites_change_nothing_at_the_console(t) {
    const { site } = t;
    t.expect(blocked);
    const holder = await site.account();
    const { console } = await enter(t, site, holder);
    const servers = [await t.server(SIBLING, { '/': plain('Sibling') }), await t.server(OTHER, { '/': plain('Other') })];
    await console.goto(`${site.console}/credentials/add`);
    await console.locator('input[name=username]').fill('forged');
    await console.locator('input[name=web]').check();
    const fields = await fieldsOf(console);
    const from = await t.page();
    // Even with the token of the session, which no other site has.
    for (const sent of [fields, fields.filter(([, value]) => value.length < 30)]) {
      for (const place of [...servers.map(({ origin }) => `${origin}/`), site.app]) {
        await from.goto(place);
        const answer = await post(from, `${site.console}/credentials/add`, sent);
        assert.ok(answer.status() >= 400 || isLogin(from), `${place}: ${answer.status()} ${from.url()}`);
      }
    }
    const actions = ['/credentials/1/remove', '/credentials/remove', '/sessions/end-others', '/own/password', '/logout'];
    for (const action of actions) {
      await from.goto(`${servers[0].origin}/`);
      await post(from, site.console + action, fields);
    }
    assert.deepEqual(await names(site, holder.name), []);
    await console.goto(`${site.console}/sessions`);
    assert.ok(!isLogin(console), 'still logged in');
    // Without the token, a page of the console itself changes nothing; with it, it does.
    await console.goto(`${site.console}/credentials/add`);
    const refused = await post(console, `${site.console}/credentials/add`, fields.filter(([, value]) => value.length < 30));
    assert.ok(refused.status() >= 400, `${refused.status()}`);
    assert.deepEqual(await names(site, holder.name), []);
    await console.goto(`${site.console}/credentials/add`);
    await post(console, `${site.console}/credentials/add`, fields);
    assert.deepEqual(await names(site, holder.name), ['forged'], 'the attack works with token and origin');
  },

  async forms_of_other_sites_do_not_reach_the_dashboard(t) {
    const { site } = t;
    t.expect(blocked);
    const user = await site.credential('web');
    const page = await t.page();
    await page.goto(site.app);
    await logIn(page, user);
    const servers = [await t.server(SIBLING, { '/': plain('Sibling') }), await t.server(OTHER, { '/': plain('Other') })];
    const target = `/transfer-${user.name}`;
    for (const { origin } of servers) {
      await page.goto(`${origin}/`);
      const answer = await post(page, site.app + target, [['to', 'attacker']]);
      assert.ok([401, 403].includes(answer.status()), `${origin}: ${answer.status()}`);
      for (const mode of ['cors', 'no-cors']) {
        await page.goto(`${origin}/`);
        await read(page, site.app + target, { method: 'POST', mode, credentials: 'include', body: 'x' });
      }
    }
    assert.deepEqual(site.dashboard.asked(target), []);
    await page.goto(site.app);
    await post(page, site.app + target, [['to', 'friend']]);
    assert.equal(site.dashboard.asked(target).length, 1, 'the attack works from its own origin');
  },

  // Otherwise the victim would work under the name of the attacker.
  async other_sites_log_nobody_in_or_out(t) {
    const { site } = t;
    t.expect(blocked);
    const attacker = await site.account();
    const victim = await site.account();
    const servers = [await t.server(SIBLING, { '/': plain('Sibling') }), await t.server(OTHER, { '/': plain('Other') })];
    const places = [[site.app + LOGIN, site.app, COOKIE], [`${site.console}/login`, site.console, CONSOLE_COOKIE]];
    for (const [login, url, name] of places) {
      const context = await t.context();
      const page = await t.page(context);
      await page.goto(login);
      await page.locator('input[name=username]').fill(attacker.name);
      await page.locator('input[name=password]').fill(attacker.password);
      const fields = await fieldsOf(page, 'form');
      for (const { origin } of servers) {
        await page.goto(`${origin}/`);
        await post(page, login, fields);
        assert.equal(await cookie(context, url, name), undefined, `${login} from ${origin}`);
        // The form is shown again, so that one who meant it can go on.
        assert.ok(await page.locator('input[name=password]').isVisible(), `${login}: ${await page.locator('main').innerText()}`);
      }
      await page.goto(login);
      await post(page, login, fields);
      assert.ok(await cookie(context, url, name), 'the attack works from its own origin');
    }
    const { page, console } = await enter(t, site, victim);
    const from = await t.page();
    for (const { origin } of servers) {
      for (const logout of [site.app + LOGOUT, `${site.console}/logout`]) {
        await from.goto(`${origin}/`);
        await post(from, logout, []);
        await from.goto(`${origin}/`);
        await from.goto(logout).catch(() => {});
      }
    }
    await page.goto(site.app);
    await console.goto(`${site.console}/sessions`);
    assert.ok(!isLogin(page) && !isLogin(console), 'still logged in');
  },

  async websockets_of_other_origins(t) {
    const { site } = t;
    t.expect(blocked);
    const page = await t.page();
    await page.goto(site.app);
    await logIn(page, await site.credential('web'));
    assert.equal(await socket(page, `${site.app}/own-socket`), 'hello', 'the attack works from its own origin');
    for (const host of [SIBLING, OTHER]) {
      const server = await t.server(host, { '/': plain('Other') });
      const foreign = await t.page();
      await foreign.goto(`${server.origin}/`);
      assert.equal(await socket(foreign, `${server.origin}/control`), 'hello', 'the attack works where nothing defends');
      assert.equal(await socket(foreign, `${site.app}/foreign-socket`), 'refused', host);
    }
    assert.deepEqual(site.dashboard.asked('/foreign-socket'), []);
  },

  async a_websocket_of_an_allowed_origin(t) {
    const site = t.sites.lenient;
    const page = await t.page();
    await page.goto(site.app);
    await logIn(page, await site.credential('web'));
    t.allow(partner.origin);
    await page.goto(`${partner.origin}/`);
    assert.equal(await socket(page, `${site.app}/socket`), 'hello');
  },

  async redirects_stay_here(t) {
    const { site } = t;
    t.expect(blocked);
    const other = await t.server(OTHER, { '/': plain('Other') });
    const host = new URL(other.origin).host;
    const raw = [
      other.origin, `//${host}/`, `/\\${host}/`, `\\\\${host}/`, `/\t/${host}/`, `/\n/${host}/`, `/\r\n/${host}/`, `\t//${host}/`,
      ` //${host}/`, `/\u0000/${host}`, `///${host}/`, `////${host}/`, `https:${host}`, `https:/${host}`, `javascript:alert(1)`,
      `data:text/html,x`, `/a/..//${host}/`, `/./\\${host}/`, `/.//${host}/`, `/%2e//${host}/`, `/a/%2e%2e//${host}/`,
    ];
    const encoded = [`/%2F${host}/`, `/%5C${host}/`, `%2F%2F${host}/`, `/%09/${host}/`, `/%0d%0aLocation:%20${other.origin}/`,
      `/x%0d%0aSet-Cookie:%20a=b`, `/-/gatepost/logout`, `/-/gatepost/login?next=//${host}/`, `/%2d/gatepost/logout`, `x`, ``,
      `/${'a'.repeat(5000)}`, `/\u00e9`, `/@${host}`, `@${host}`, `.${host}`];
    const page = await t.page();
    await page.goto(site.app);
    const leading = await page.evaluate((raw) => raw.filter((value) => new URL(value, location.href).origin !== location.origin), raw);
    assert.ok(leading.length >= 12, `without a check, these lead elsewhere: ${leading}`);
    const user = await site.credential('web');
    const values = [...raw, ...encoded];
    // Of one who is logged in, the login leads on at once; of anybody else, by way of its form.
    await logIn(page, user);
    for (const value of values) {
      const answer = await page.goto(`${site.app}${LOGIN}?next=${encodeURIComponent(value)}`);
      const { origin, pathname } = new URL(page.url());
      assert.equal(origin, site.app, JSON.stringify(value));
      assert.ok(!pathname.startsWith('/-/gatepost') || answer.status() === 400, `${JSON.stringify(value)}: ${page.url()}`);
      assert.deepEqual((await t.main.cookies()).map(({ name }) => name), [COOKIE], JSON.stringify(value));
    }
    for (const value of [`//${host}/`, `/\\${host}/`, `/\t/${host}/`]) {
      for (const way of ['query', 'field']) {
        const context = await t.context();
        const page = await t.page(context);
        await page.goto(`${site.app}${LOGIN}?next=${way === 'query' ? encodeURIComponent(value) : '%2Fx'}`);
        if (way === 'field') await page.locator('input[name=next]').evaluate((field, value) => { field.value = value; }, value);
        await logIn(page, user);
        const { origin, pathname } = new URL(page.url());
        assert.equal(origin, site.app, `${way} ${JSON.stringify(value)}`);
        assert.ok(!pathname.startsWith('/-/gatepost'), `${way} ${JSON.stringify(value)}: ${page.url()}`);
        await context.close();
      }
    }
    // Nor does a link that one without a session follows.
    for (const link of [`//${host}/x`, `/\\${host}/x`, `/%5C${host}/x`, `/%2F${host}/x`, `/.//${host}/x`]) {
      const context = await t.context();
      const page = await t.page(context);
      await page.goto(site.app + link);
      if (isLogin(page)) await logIn(page, user);
      assert.equal(new URL(page.url()).origin, site.app, link);
      await context.close();
    }
    assert.deepEqual(other.received, []);
  },

  async markup_is_text(t) {
    const { site } = t;
    t.expect(blocked);
    const holder = await site.account();
    const { console } = await enter(t, site, holder);
    const marks = [
      '<script>window.hit=1</script>', '"><img src=x onerror=window.hit=1>', "'><svg/onload=window.hit=1>", '</title><script>window.hit=1</script>',
      '{{7*7}}${7*7}<%= 7*7 %>', '&lt;b&gt;&amp;quot;', 'javascript:window.hit=1', '\u202Egnp.exe', '--></textarea><script>window.hit=1</script>',
    ];
    const control = await t.server(OTHER, { '/': plain('Other', marks.join('\n')) });
    const page = await t.page();
    t.expect(/404|ERR_/);
    await page.goto(`${control.origin}/`);
    assert.equal(await page.evaluate(() => window.hit), 1, 'the attack works where nothing defends');
    const clean = async (page, what) => {
      assert.equal(await page.evaluate(() => window.hit), undefined, what);
      const strange = await page.evaluate(() => document.querySelectorAll('img[src=x], svg[onload], script:not([src])').length);
      assert.equal(strange, 0, what);
    };
    const notes = [0, 3, 6].map((from) => marks.slice(from, from + 3).join(' '));
    for (const [number, note] of notes.entries()) {
      await console.goto(`${site.console}/credentials/add`);
      await console.locator('input[name=username]').fill(`marked-${number}`);
      await console.locator('[name=note]').fill(note);
      await console.locator('input[name=web]').check();
      await press(console, 'Add the credential');
      await clean(console, note);
    }
    await console.goto(`${site.console}/credentials`);
    await clean(console, 'the list');
    const list = await console.locator('main').innerText();
    for (const mark of marks) assert.ok(list.includes(mark.replace('\u202E', '')) || list.includes(mark), `${mark} is shown as it is`);
    const all = marks.join(' ');
    const query = encodeURIComponent(all);
    for (const path of ['/credentials?q=', '/credentials?state=', '/', '/login?next=', '/activity?notice=', '/credentials?notice=']) {
      await console.goto(site.console + path + query);
      await clean(console, path);
    }
    const context = await t.context();
    for (const url of [`${site.app}${LOGIN}`, `${site.console}/login`]) {
      const page = await t.page(context);
      await page.goto(`${url}?next=${query}`);
      await logIn(page, { name: all, password: 'wrong-passw0rd' });
      await clean(page, url);
      assert.equal(await page.locator('input[name=username]').inputValue(), all);
    }
    await console.goto(`${site.console}/activity`);
    await clean(console, 'the activity');
    for (const link of await console.locator('a').evaluateAll((links) => links.map(({ protocol }) => protocol))) assert.equal(link, 'https:');
  },

  // What lies below the prefix is the gate's, and never the dashboard's.
  async the_dashboard_has_nothing_below_the_prefix(t) {
    const { site } = t;
    t.expect(blocked);
    const page = await t.page();
    await page.goto(site.app);
    await logIn(page, await site.credential('web'));
    for (const path of ['/-/gatepost/', '/-/gatepost/x', '/-/gatepost/login/x', '/%2d/gatepost/x', '/-/gatepos%74/x', '/-/gatepost/%2e/x', '/-/gatepost/x.js']) {
      assert.match(await read(page, site.app + path), /^40[0-9] /, path);
    }
    assert.deepEqual(site.dashboard.received.filter(({ url }) => /gatepos/i.test(decodeURIComponent(url))), []);
    assert.match(await read(page, `${site.app}/-/metrics`), /^200 /, 'the rest of /-/ is the dashboard’s');
  },
};

Server.start({ scheme: 'https' }).then((server) => {
  partner = Object.assign(server, { origin: `https://partner.acme.test:${server.port}` });
  const lenient = `service_workers = true\nallowed_origins = ["${partner.origin}"]`;
  return run({ site: {}, lenient: { web: lenient }, restarted: {} }, scenarios);
});
