// The gate: what people and the scripts of a dashboard meet on a gated origin.
const { assert, logIn, logOut, press, run, until } = require('./harness');
const { plain } = require('./server');

const LOGIN = '/-/gatepost/login';
const LOGOUT = '/-/gatepost/logout';

// Of the site `short`, in milliseconds.
const IDLE = 4000;
const LIFETIME = 9000;

const isLogin = (page) => new URL(page.url()).pathname === LOGIN;
const heading = (page) => page.locator('h1').first().innerText();
const text = (page) => page.locator('body').innerText();
const statuses = (...numbers) => new RegExp(`status of (${numbers.join('|')})`);

// Opens a page of the dashboard and logs in there.
async function enter(t, site, login, path = '/') {
  const page = await t.page();
  await page.goto(site.app + path);
  assert.ok(isLogin(page), page.url());
  await logIn(page, login);
  assert.equal(await heading(page), 'Dashboard');
  return page;
}

const sessionCookie = async (context, site) => {
  const cookies = await context.cookies(site.app);
  return cookies.find(({ name }) => name === (site.scheme === 'https' ? '__Host-gatepost' : 'gatepost'));
};

const scenarios = {
  async login(t) {
    const { site } = t;
    const user = await site.credential('web');
    const page = await enter(t, site, user);
    assert.equal(page.url(), `${site.app}/`);
    const cookie = await sessionCookie(t.main, site);
    assert.deepEqual(
      { httpOnly: cookie.httpOnly, secure: cookie.secure, sameSite: cookie.sameSite, path: cookie.path, domain: cookie.domain },
      { httpOnly: true, secure: true, sameSite: 'Lax', path: '/', domain: 'app.acme.test' },
    );
    // The dashboard learns who it is, and nothing of the session.
    await page.goto(`${site.app}/first-${user.name}`);
    const [received] = site.dashboard.asked(`/first-${user.name}`);
    assert.equal(received.headers['x-gatepost-user'], user.name);
    assert.equal(received.headers.cookie, undefined);
    assert.equal(received.headers.authorization, undefined);
  },

  async the_account_holder_logs_in_too(t) {
    const page = await enter(t, t.site, await t.site.account());
    assert.equal(await heading(page), 'Dashboard');
  },

  async a_deep_link_keeps_its_query(t) {
    const target = "/reports/2026?from=1&q=%C3%A4%20b+c%2Fd%25&empty=&x=a%26b;y=!&list[]=1&list[]=2";
    const user = await t.site.credential('web');
    const page = await enter(t, t.site, user, target);
    assert.equal(page.url(), t.site.app + target);
    assert.deepEqual(t.site.dashboard.asked('/reports/2026').map(({ url }) => url), [target]);
  },

  async a_deep_link_keeps_its_fragment(t) {
    const page = await enter(t, t.site, await t.site.credential('web'), '/list?page=3#row-17');
    assert.equal(page.url(), `${t.site.app}/list?page=3#row-17`);
    assert.equal(await page.locator('#where').innerText(), page.url());
  },

  // Chromium applies `form-action` to all redirections of a form, so the way on is a navigation of its own.
  async a_landing_page_that_leads_to_another_origin(t) {
    const { site } = t;
    const other = await t.server('evil.test', { '/landed': plain('Landed') });
    site.dashboard.pages['/away'] = () => ({ status: 302, headers: { Location: `${other.origin}/landed` } });
    const user = await site.credential('web');
    for (const javaScriptEnabled of [true, false]) {
      const page = await t.page(await t.context({ javaScriptEnabled }));
      await page.goto(`${site.app}/away`);
      await logIn(page, user);
      await page.waitForURL(`${other.origin}/landed`);
      assert.equal(await heading(page), 'Landed');
      // The way back doesn't lead forward again at once by the page between.
      await page.goBack();
      assert.ok(!new URL(page.url()).searchParams.has('sent'), page.url());
    }
  },

  async a_wrong_password(t) {
    const { site } = t;
    t.expect(statuses(401));
    const user = await site.credential('web');
    const suspended = await site.account();
    await site.command('account', 'suspend', suspended.name);
    const seen = [];
    for (const login of [{ ...user, password: 'wrong-passw0rd' }, { name: 'nobody-here', password: 'wrong-passw0rd' }, suspended]) {
      const page = await t.page(await t.context());
      await page.goto(`${site.app}/wrong?a=b`);
      await logIn(page, login);
      assert.ok(isLogin(page), page.url());
      // The name stays in its field, the password does not; the message is announced and has the focus.
      assert.equal(await page.locator('input[name=username]').inputValue(), login.name);
      assert.equal(await page.locator('input[name=password]').inputValue(), '');
      seen.push((await text(page)).replaceAll(login.name, 'NAME').replace(/Request ID \w+/, 'Request ID'));
      if (login.name === user.name) {
        await logIn(page, user);
        assert.equal(page.url(), `${site.app}/wrong?a=b`);
      }
    }
    assert.equal(seen[0], seen[1], 'an unknown user looks as a wrong password');
    assert.equal(seen[0], seen[2], 'and so does a suspended account');
  },

  async a_throttled_login_says_when_to_try_again(t) {
    const site = t.sites.throttled;
    t.expect(statuses(401, 429));
    const page = await t.page();
    await page.goto(site.app);
    const wrong = { name: 'somebody', password: 'wrong-passw0rd' };
    // Other guesses than the form's: one that is known to be wrong counts once.
    let [guesses, shown] = [0, ''];
    const isThrottled = () => /try again in \d+ seconds?/i.test(shown);
    const guess = async () => {
      while (!isThrottled()) {
        const authorization = `Basic ${btoa(`${wrong.name}:guess-${guesses += 1}`)}`;
        await fetch(`http://${process.env.ADDRESS}:${site.web_port}/`, { headers: { authorization } });
      }
    };
    const guessing = guess();
    await until('the form says so', async () => {
      await logIn(page, wrong);
      shown = await text(page);
      return isThrottled();
    });
    await guessing;
    assert.equal(await page.locator('input[name=username]').inputValue(), wrong.name, shown);
  },

  async logout(t) {
    const { site } = t;
    const user = await site.credential('web');
    const page = await enter(t, site, user);
    const cookie = await sessionCookie(t.main, site);
    const other = await t.page();
    await other.goto(`${site.app}/other`);
    await logOut(page, site.app + LOGOUT);
    assert.equal(await sessionCookie(t.main, site), undefined, 'the cookie is removed');
    await other.goto(`${site.app}/other`);
    assert.ok(isLogin(other), 'in every tab');
    // The page that was left does not come back.
    await page.goto(site.app);
    assert.ok(isLogin(page));
    const again = await t.context();
    await again.addCookies([cookie]);
    const replayed = await t.page(again);
    await replayed.goto(`${site.app}/replayed-${user.name}`);
    assert.ok(isLogin(replayed), 'the cookie is worth nothing any more');
    assert.deepEqual(site.dashboard.asked(`/replayed-${user.name}`), []);
  },

  async a_session_ends_when_it_is_idle(t) {
    const site = t.sites.short;
    const page = await enter(t, site, await site.credential('web'));
    const began = Date.now();
    let used = began;
    const open = async () => {
      used = Date.now();
      await page.goto(`${site.app}/page`);
      return !isLogin(page);
    };
    await until('it was used for longer than its idle time', async () => {
      assert.ok(await open(), `${Date.now() - began} ms after the login`);
      return Date.now() - began > IDLE + 1000;
    });
    await until('it was not used', () => Date.now() - used > IDLE + 1500);
    assert.ok(!(await open()));
    await page.getByText(/session has ended/i).waitFor();
  },

  async a_session_ends_at_its_lifetime(t) {
    const site = t.sites.short;
    const page = await enter(t, site, await site.credential('web'));
    const began = Date.now();
    await until('it ends although it is used', async () => {
      await page.goto(`${site.app}/page`);
      return isLogin(page);
    });
    const took = Date.now() - began;
    assert.ok(took > LIFETIME - 2500 && took < LIFETIME + 3000, `${took} ms`);
  },

  async revoked_while_the_page_is_open(t) {
    const { site } = t;
    t.expect(statuses(401));
    const changes = {
      removed: (name) => site.command('credential', 'remove', name, '--account', 'acme'),
      'password changed': (name) =>
        site.run(['credential', 'edit', name, '--account', 'acme', '--password-stdin'], 'another-passw0rd\n'),
    };
    for (const [what, change] of Object.entries(changes)) {
      const user = await site.credential('web');
      const page = await t.page(await t.context());
      await page.goto(`${site.app}/open`);
      await logIn(page, user);
      assert.equal(await heading(page), 'Dashboard');
      await change(user.name);
      assert.equal(await page.evaluate(() => fetch('/data').then(({ status }) => status)), 401, what);
      await page.goto(`${site.app}/next-${user.name}`);
      assert.ok(isLogin(page), what);
      assert.deepEqual(site.dashboard.asked(`/next-${user.name}`), []);
    }
  },

  async suspended_while_the_page_is_open(t) {
    const { site } = t;
    const holder = await site.account();
    const user = await site.credential('web', holder.name);
    const pages = [];
    for (const login of [holder, user]) {
      const page = await t.page(await t.context());
      await page.goto(site.app);
      await logIn(page, login);
      assert.equal(await heading(page), 'Dashboard');
      pages.push(page);
    }
    await site.command('account', 'suspend', holder.name);
    for (const page of pages) {
      await page.goto(`${site.app}/suspended`);
      assert.ok(isLogin(page));
    }
    // The session has ended: it is not back with the account.
    await site.command('account', 'resume', holder.name);
    for (const page of pages) {
      await page.goto(`${site.app}/resumed`);
      assert.ok(isLogin(page));
    }
  },

  async a_cleared_permission_is_said_in_words(t) {
    const { site } = t;
    t.expect(statuses(403));
    const user = await site.credential('api,web');
    const page = await enter(t, site, user);
    await site.command('credential', 'edit', user.name, '--account', 'acme', '--revoke', 'web');
    const answer = await page.goto(`${site.app}/denied-${user.name}`);
    assert.equal(answer.status(), 403);
    const shown = await text(page);
    assert.ok(shown.includes(user.name), `it says who is logged in: ${shown}`);
    assert.match(shown, /\bweb\b/);
    assert.deepEqual(site.dashboard.asked(`/denied-${user.name}`), []);
    // With the permission, the same session is good again.
    await site.command('credential', 'edit', user.name, '--account', 'acme', '--grant', 'web');
    await page.goto(site.app);
    assert.equal(await heading(page), 'Dashboard');
  },

  async without_the_permission_there_is_no_session(t) {
    const { site } = t;
    t.expect(statuses(403));
    const user = await site.credential('api');
    const page = await t.page();
    await page.goto(site.app);
    await logIn(page, user);
    assert.match(await text(page), /\bweb\b/);
    assert.equal(await sessionCookie(t.main, site), undefined);
  },

  async a_websocket_ends_within_a_second(t) {
    const { site } = t;
    const ends = {
      removed: (user) => site.command('credential', 'remove', user.name, '--account', 'acme'),
      'permission cleared': (user) =>
        site.command('credential', 'edit', user.name, '--account', 'acme', '--revoke', 'web'),
      'logged out': async (_, context) => {
        const page = await t.page(context);
        await logOut(page, site.app + LOGOUT);
      },
    };
    for (const [what, end] of Object.entries(ends)) {
      const user = await site.credential('web,api');
      const context = await t.context();
      const page = await t.page(context);
      await page.goto(`${site.app}/live`);
      await logIn(page, user);
      const said = await page.evaluate(() => new Promise((resolve) => {
        window.socket = new WebSocket(`${location.origin.replace('http', 'ws')}/socket`);
        window.closed = new Promise((closed) => { window.socket.onclose = () => closed(Date.now()); });
        window.socket.onmessage = ({ data }) => resolve(data);
        window.socket.onerror = () => resolve('error');
      }));
      assert.equal(said, 'hello', what);
      await end(user, context);
      const ended = Date.now();
      const closed = await page.evaluate(() => window.closed);
      assert.ok(closed - ended < 1500, `${what}: ${closed - ended} ms`);
    }
  },

  async a_form_without_a_session_says_that_nothing_was_sent(t) {
    const { site } = t;
    t.expect(statuses(401));
    const user = await site.credential('web');
    const page = await enter(t, site, user, '/form');
    await site.command('session', 'end', user.name);
    await press(page, 'Order');
    assert.match(await text(page), /not sent|nothing was sent/i);
    assert.equal(new URL(page.url()).pathname, '/orders');
    assert.deepEqual(site.dashboard.asked('/orders').filter(({ headers }) => headers['x-gatepost-user'] === user.name), []);
  },

  async a_form_with_a_session_arrives(t) {
    const user = await t.site.credential('web');
    const page = await enter(t, t.site, user, '/form');
    await press(page, 'Order');
    const sent = t.site.dashboard.asked('/orders').filter(({ headers }) => headers['x-gatepost-user'] === user.name);
    assert.deepEqual(sent.map(({ method, body }) => [method, body]), [['POST', 'item=book']]);
  },

  async a_fetch_without_a_session_gets_no_challenge(t) {
    const { site } = t;
    t.expect(statuses(401));
    const user = await site.credential('web');
    const page = await enter(t, site, user, '/app');
    await site.command('session', 'end', user.name);
    for (const options of [{}, { method: 'POST', body: 'x' }, { headers: { Accept: 'text/html' } }, { credentials: 'omit' }]) {
      const [status, challenge] = await page.evaluate(async (options) => {
        const answer = await fetch('/data', options);
        return [answer.status, answer.headers.get('www-authenticate')];
      }, options);
      assert.equal(status, 401, JSON.stringify(options));
      // A browser opens its password box for Basic, and for no scheme that it does not know.
      assert.doesNotMatch(challenge || '', /basic|digest|negotiate|ntlm|bearer/i);
    }
    const status = await page.evaluate(() => new Promise((resolve) => {
      const request = new XMLHttpRequest();
      request.onloadend = () => resolve(request.status);
      request.open('GET', '/data');
      request.send();
    }));
    assert.equal(status, 401);
  },

  async password_managers_find_the_fields(t) {
    const page = await t.page();
    await page.goto(t.site.app);
    const attributes = await page.locator('form').evaluate((form) => {
      const of = (name) => {
        const field = form.elements[name];
        const label = field.labels[0] && field.labels[0].innerText.trim();
        return [field.type, field.autocomplete, field.required, field.autocapitalize, field.spellcheck, Boolean(label), field.id !== ''];
      };
      return { method: form.method, username: of('username'), password: of('password') };
    });
    assert.equal(attributes.method, 'post');
    assert.deepEqual(attributes.username, ['text', 'username', true, 'none', false, true, true]);
    assert.deepEqual([...attributes.password.slice(0, 3), ...attributes.password.slice(5)], ['password', 'current-password', true, true, true]);
    assert.equal(await page.evaluate(() => document.activeElement.name), 'username', 'the first field has the focus');
    // Pasting is possible.
    await page.locator('input[name=password]').evaluate((field) => {
      const allowed = field.dispatchEvent(new ClipboardEvent('paste', { cancelable: true, bubbles: true }));
      if (!allowed) throw new Error('pasting is prevented');
    });
  },

  async login_without_javascript(t) {
    const { site } = t;
    const context = await t.context({ javaScriptEnabled: false });
    const page = await t.page(context);
    const user = await site.credential('web');
    await page.goto(`${site.app}/plain?x=1`);
    await logIn(page, user);
    assert.equal(page.url(), `${site.app}/plain?x=1`);
    await logOut(page, site.app + LOGOUT);
    await page.goto(site.app);
    assert.ok(isLogin(page));
  },

  async login_by_keyboard(t) {
    const { site } = t;
    const user = await site.credential('web');
    const page = await t.page();
    await page.goto(`${site.app}/keys`);
    await page.keyboard.type(user.name);
    await page.keyboard.press('Tab');
    await page.keyboard.type(user.password);
    await page.keyboard.press('Enter');
    await page.waitForURL(`${site.app}/keys`);
  },

  // On the machine itself, a login needs no TLS.
  async login_over_cleartext(t) {
    const site = t.sites.cleartext;
    t.expect(statuses(401));
    const user = await site.credential('web');
    const page = await enter(t, site, user, '/clear?a=%2F');
    assert.equal(page.url(), `${site.app}/clear?a=%2F`);
    const cookie = await sessionCookie(t.main, site);
    assert.deepEqual([cookie.httpOnly, cookie.secure, cookie.sameSite], [true, false, 'Lax']);
    assert.equal(cookie.domain, 'app.acme.localhost');
    await press(page, 'Order');
    await until('the form arrives', () => site.dashboard.asked('/orders').length === 1);
    await site.command('session', 'end', user.name);
    assert.equal(await page.evaluate(() => fetch('/data').then(({ status }) => status)), 401);
    await page.goto(site.app);
    assert.ok(isLogin(page));
  },

  // A login leads here first. A browser that keeps no cookies would go around in circles otherwise.
  async a_cookie_that_does_not_stick_is_said(t) {
    const { site } = t;
    t.expect(statuses(401));
    const user = await site.credential('web');
    const page = await t.page();
    const seen = [];
    page.on('response', (answer) => seen.push(new URL(answer.url()).pathname + new URL(answer.url()).search));
    await page.goto(`${site.app}/sticky`);
    await logIn(page, user);
    const landed = seen.find((url) => url.startsWith(LOGIN) && url.includes('sent'));
    await t.main.clearCookies();
    await page.goto(site.app + landed);
    assert.ok(isLogin(page));
    assert.match(await text(page), /cookie/i);
    await logIn(page, user);
    assert.equal(page.url(), `${site.app}/sticky`);
  },

  // Through a network, a password would be read by others.
  async no_login_over_cleartext_through_a_network(t) {
    const site = t.sites.cleartext;
    t.expect(statuses(403));
    t.expect(/Cross-Origin-Opener-Policy header has been ignored/);
    const origin = site.app.replace('.localhost', '.test');
    t.allow(origin);
    const page = await t.page();
    await page.goto(`${origin}/clear`);
    assert.match(await text(page), /not encrypted/);
    assert.equal(await page.locator('input').count(), 0);
  },

  async a_login_that_is_open_twice(t) {
    const { site } = t;
    const user = await site.credential('web');
    const first = await t.page();
    const second = await t.page();
    await first.goto(`${site.app}/one`);
    await second.goto(`${site.app}/two`);
    await logIn(first, user);
    await logIn(second, user);
    assert.deepEqual([first.url(), second.url()], [`${site.app}/one`, `${site.app}/two`]);
    await first.goto(site.app + LOGIN);
    assert.equal(await heading(first), 'Dashboard', 'one that is logged in is not asked again');
  },
};

run(
  {
    site: {},
    cleartext: { scheme: 'http' },
    short: { web: `session_idle = "${IDLE}ms"\nsession_lifetime = "${LIFETIME}ms"` },
    throttled: { scheme: 'http', auth: 'throttle = true' },
  },
  scenarios,
);
