// Every page of the gate and of the console: what axe-core says of it, light and dark and in forced colours; from the width of a small
// phone up; and with large text. SCREENSHOTS names a directory for pictures of what fails.
const fs = require('node:fs');
const { assert, logIn, press, run } = require('./harness');
const { plain } = require('./server');

const AXE = fs.readFileSync(`${process.env.AXE}/axe.min.js`, 'utf8');

// How a page is looked at. The last of them have no axe: they are about the width alone.
const LOOKS = {
  light: { width: 1440, colorScheme: 'light', axe: true },
  dark: { width: 1440, colorScheme: 'dark', axe: true },
  forced: { width: 1440, colorScheme: 'light', forcedColors: 'active', axe: true },
  phone: { width: 360, colorScheme: 'dark', axe: true },
  // A window of 1280 at 400 % (WCAG 2.2, 1.4.10).
  zoomed: { width: 320, colorScheme: 'light' },
  tablet: { width: 768, colorScheme: 'light' },
  // Text of twice the size (1.4.4).
  large: { width: 1280, colorScheme: 'light', fontSize: '200%' },
};

async function inspect(page, what) {
  const found = [];
  for (const [name, look] of Object.entries(LOOKS)) {
    await page.setViewportSize({ width: look.width, height: 900 });
    await page.emulateMedia({ colorScheme: look.colorScheme, forcedColors: look.forcedColors || 'none', reducedMotion: 'reduce' });
    await page.evaluate((size) => { document.documentElement.style.fontSize = size; }, look.fontSize || '');
    const [scrolled, widest] = await page.evaluate(() => {
      const { scrollWidth, clientWidth } = document.scrollingElement;
      const beyond = [...document.body.querySelectorAll('*')].filter((one) => {
        const isClipped = one.closest('pre, .code, .sr-only, .table-frame');
        return !isClipped && one.getBoundingClientRect().right > clientWidth + 1;
      });
      return [scrollWidth - clientWidth, beyond.slice(0, 3).map((one) => one.outerHTML.slice(0, 120))];
    });
    if (scrolled > 0) found.push(`${what}, ${name}: ${scrolled} px too wide: ${widest.join(' ')}`);
    if (look.axe) {
      if (!(await page.evaluate(() => Boolean(window.axe)))) await page.evaluate(AXE);
      // eslint-disable-next-line no-undef
      const { violations } = await page.evaluate(() => axe.run(document, { preload: false, resultTypes: ['violations'] }));
      for (const { id, help, nodes } of violations) {
        found.push(`${what}, ${name}: ${id}: ${help}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join('\n')}`);
      }
    }
    if (process.env.SCREENSHOTS) {
      const file = `${process.env.SCREENSHOTS}/${what.replace(/[^a-z0-9]+/gi, '-')}-${name}.png`;
      await page.screenshot({ path: file, fullPage: true });
    }
  }
  assert.equal(found.length, 0, found.join('\n'));
}

const LOGIN = '/-/gatepost/login';

// A page as somebody who is logged in there.
async function enter(t, url, login) {
  const page = await t.page(await t.context());
  await page.goto(url);
  await logIn(page, login);
  return page;
}

async function holder(t, count = 0) {
  const { site } = t;
  const login = await site.account();
  if (count) await site.fill(login.name, `${login.name}.of-a-rather-long-name-with-many-parts`, count);
  return { page: await enter(t, site.console, login), login };
}

const FLAWED = plain('Flawed', '<p style="color:#999;background:#aaa">Hard to read</p><input><div style="width:2000px">Wide</div>');

// Groups of pages: they share what they are about, and run at the same time.
const scenarios = {
  // Otherwise the rest says nothing.
  async flaws_are_found(t) {
    const { origin } = await t.server('evil.test', { '/': FLAWED });
    const page = await t.page();
    await page.goto(`${origin}/`);
    const found = await inspect(page, 'flawed').then(() => '', ({ message }) => message);
    for (const flaw of [/phone: \d+ px too wide/, /light: color-contrast/, /dark: label/, /zoomed: \d+ px/]) assert.match(found, flaw);
  },

  async the_login(t) {
    t.expect(/status of (401|422|429)/);
    const page = await t.page();
    for (const [where, url] of [['gate', t.site.app], ['console', t.site.console]]) {
      await page.goto(url);
      await inspect(page, `${where}: login`);
      await logIn(page, { name: 'somebody', password: 'wrong-passw0rd' });
      await inspect(page, `${where}: wrong password`);
    }
  },

  async pages_of_the_gate(t) {
    t.expect(/status of (401|403|404)/);
    const { site } = t;
    const user = await site.credential('web,api');
    const page = await enter(t, site.app, user);
    await page.goto(`${site.app}/-/gatepost/logout`);
    await inspect(page, 'gate: logout');
    await page.goto(`${site.app}/-/gatepost/nothing`);
    await inspect(page, 'gate: not found');
    await page.goto(site.app);
    await site.command('credential', 'edit', user.name, '--account', 'acme', '--revoke', 'web');
    await page.goto(site.app);
    await inspect(page, 'gate: forbidden');
    await site.command('credential', 'edit', user.name, '--account', 'acme', '--grant', 'web');
    await page.goto(site.app);
    await site.command('session', 'end', user.name);
    await press(page, 'Order');
    await inspect(page, 'gate: nothing was sent');
    await page.goto(site.app + LOGIN);
    await inspect(page, 'gate: login after the end');
  },

  async the_list(t) {
    const { page } = await holder(t);
    await inspect(page, 'list: empty');
    const full = await holder(t, 70);
    await inspect(full.page, 'list: full');
    await full.page.goto(`${t.site.console}/credentials?q=nothing-like-that`);
    await inspect(full.page, 'list: no match');
  },

  async adding(t) {
    t.expect(/status of (409|422)/);
    const { page, login } = await holder(t);
    await page.goto(`${t.site.console}/credentials/add`);
    await inspect(page, 'add');
    await page.getByLabel('Username').fill('x');
    await page.getByLabel('Type one').check();
    await page.locator('input[name=password]').fill('short');
    await press(page, 'Add the credential');
    await inspect(page, 'add: errors');
    await page.goto(`${t.site.console}/credentials/add`);
    await page.getByLabel('Username').fill(`${login.name}.new-one`);
    await page.locator('input[name=web]').check();
    await press(page, 'Add the credential');
    await inspect(page, 'add: handover');
    await press(page, 'Done', 'link');
    await inspect(page, 'list: one');
  },

  async changing(t) {
    const { page } = await holder(t, 6);
    await page.locator('table.credentials tbody a.name').first().click();
    await page.waitForLoadState();
    await inspect(page, 'edit');
    await page.locator('[name=note]').fill('Another note');
    await press(page, 'Save');
    await inspect(page, 'list: after a change');
    await page.goto(`${t.site.console}/credentials`);
    await press(page, /^Remove ./, 'link');
    await inspect(page, 'remove');
    await page.goto(`${t.site.console}/credentials`);
    for (const box of await page.locator('tbody input[type=checkbox]').all()) await box.check();
    await press(page, 'Remove selected');
    await inspect(page, 'remove several');
    await press(page, /^Remove \d+ credentials$/);
    await inspect(page, 'list: after a removal');
  },

  async asked_for_the_password(t) {
    const site = t.sites.aging;
    t.expect(/status of (401|403|422)/);
    const login = await site.account();
    await site.fill(login.name, `${login.name}.old`, 2);
    const page = await enter(t, site.console, login);
    const other = await enter(t, site.console, login);
    await site.clock('+6m');
    await press(page, /^Remove ./, 'link');
    await inspect(page, 'remove: confirmation');
    await page.locator('input[name=confirm]').fill('wrong-passw0rd');
    await press(page, /^Remove ./);
    await inspect(page, 'remove: wrong confirmation');
    await page.goto(`${site.console}/sessions`);
    await press(page, 'End all other sessions');
    await inspect(page, 'sessions: confirmation');
    await other.close();
  },

  async sessions_and_activity(t) {
    t.expect(/status of 404/);
    const { page, login } = await holder(t, 2);
    await page.goto(`${t.site.console}/sessions`);
    await inspect(page, 'sessions: one');
    await enter(t, t.site.app, login);
    await enter(t, t.site.console, login);
    await page.goto(`${t.site.console}/sessions`);
    await inspect(page, 'sessions: several');
    await page.goto(`${t.site.console}/activity`);
    await inspect(page, 'activity');
    await page.goto(`${t.site.console}/nothing`);
    await inspect(page, 'console: not found');
    await page.goto(`${t.site.console}/own`);
    await inspect(page, 'own: holder');
  },

  async a_credential(t) {
    t.expect(/status of 403/);
    const { site } = t;
    const user = await site.credential('web,api');
    const page = await enter(t, site.console, user);
    await inspect(page, 'own: credential');
    await page.goto(`${site.console}/credentials`);
    await inspect(page, 'console: for holders');
  },
};

run({ site: {}, aging: { clock: 'set by the script' } }, scenarios);
