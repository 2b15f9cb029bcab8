// The console: what account holders and credentials do there.
const { assert, logIn, logOut, press, run, until } = require('./harness');

const statuses = (...numbers) => new RegExp(`status of (${numbers.join('|')})`);
const path = (page) => new URL(page.url()).pathname;
const main = (page) => page.locator('main').innerText();
const heading = (page) => page.locator('h1').first().innerText();
const listed = (page) => page.locator('table.credentials tbody a.name').allInnerTexts();
const IN_EFFECT = /In effect after (less than 1|\d+) ms\./;

// A page of the console, as somebody who is logged in there.
async function enter(t, site, login, context) {
  const page = await t.page(context);
  await page.goto(site.console);
  assert.equal(path(page), '/login');
  await logIn(page, login);
  assert.notEqual(path(page), '/login', await main(page));
  return page;
}

// Adds a credential by the form. Gives its password, if one was generated.
async function add(page, site, name, { note = '', password } = {}) {
  await page.goto(`${site.console}/credentials/add`);
  await page.getByLabel('Username').fill(name);
  await page.locator('[name=note]').fill(note);
  for (const permission of ['email', 'api', 'web']) await page.locator(`input[name=${permission}]`).check();
  if (password) {
    await page.getByLabel('Type one').check();
    await page.locator('input[name=password]').fill(password);
  }
  await press(page, 'Add the credential');
  const shown = page.locator('#new-password');
  return (await shown.count()) ? shown.innerText() : undefined;
}

// Opens the page of a credential by its link in the list.
async function open(page, site, name) {
  await page.goto(`${site.console}/credentials?q=${name}`);
  await press(page, name, 'link');
  assert.match(path(page), /^\/credentials\/\d+$/);
}

// Logs in at the gate, in a new browser. Gives true if it succeeds.
async function isGood(t, site, name, password) {
  const page = await t.page(await t.context());
  await page.goto(site.app);
  await logIn(page, { name, password });
  return (await heading(page)) === 'Dashboard';
}

// Every stop of the Tab key on a page, until it leaves the page or comes to `last`.
async function tabTo(page, last) {
  const stops = [];
  for (let count = 0; count < 60; count += 1) {
    await page.keyboard.press('Tab');
    const stop = await page.evaluate(() => {
      const { activeElement: at } = document;
      const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(at);
      const isSeen = (outlineStyle !== 'none' && parseFloat(outlineWidth) > 0) || boxShadow !== 'none';
      return { text: (at.innerText || at.name || at.tagName).trim().replace(/\s+/g, ' '), isSeen, isBody: at === document.body };
    });
    assert.ok(!stop.isBody, `${last} is not reached: ${stops.map(({ text }) => text).join(', ')}`);
    stops.push(stop);
    if (stop.text.startsWith(last)) break;
  }
  const unseen = stops.filter(({ isSeen }) => !isSeen).map(({ text }) => text);
  assert.deepEqual(unseen, [], 'the focus is seen');
  return stops.map(({ text }) => text);
}

const scenarios = {
  async the_first_credential(t) {
    const { site } = t;
    const holder = await site.account();
    const page = await enter(t, site, holder);
    assert.match(await main(page), /Add your first credential/);
    assert.match(await main(page), /gatepost credential add/, 'and the command that does the same');
    await press(page, 'Add a credential', 'link');
    assert.equal(path(page), '/credentials/add');
    assert.equal(await page.evaluate(() => document.activeElement.name), 'username');
    const name = `${holder.name}.first`;
    const password = await add(page, site, name, { note: 'the first one' });
    assert.match(await main(page), IN_EFFECT);
    assert.ok(password.length >= 16, password);
    assert.ok(await isGood(t, site, name, password));
    await press(page, 'Done', 'link');
    assert.deepEqual(await listed(page), [name]);
    assert.match(await main(page), /the first one/);
  },

  async a_generated_password_is_shown_once(t) {
    const { site } = t;
    t.expect(statuses(409, 422));
    const holder = await site.account();
    const context = await t.context({ permissions: ['clipboard-read', 'clipboard-write'] });
    const page = await enter(t, site, holder, context);
    const name = `${holder.name}.once`;
    const password = await add(page, site, name);
    await page.locator('[data-copy=new-password]').click();
    await until('it is copied', async () => (await page.evaluate(() => navigator.clipboard.readText())) === password);
    const isNotShown = async (what) => {
      let html = '';
      await until('the page is there', async () => {
        html = await page.content().catch(() => '');
        return html !== '';
      });
      assert.ok(!html.includes(password), what);
    };
    await page.reload();
    await isNotShown('after reload');
    await page.goto(`${site.console}/credentials`);
    await isNotShown('in the list');
    // Browsers ask before they send a form again, and have not kept the answer.
    await page.goBack().catch((error) => assert.match(error.message, /ERR_CACHE_MISS/));
    await isNotShown('after back');
    await page.goBack().catch((error) => assert.match(error.message, /ERR_CACHE_MISS/));
    await isNotShown('after back twice');
    await page.goForward().catch((error) => assert.match(error.message, /ERR_CACHE_MISS/));
    await isNotShown('after forward');
    await open(page, site, name);
    await isNotShown('on its page');
    await page.goto(`${site.console}/activity`);
    await isNotShown('in the activity');
    await page.goto(`${site.console}/credentials`);
    assert.deepEqual(await listed(page), [name]);
  },

  async errors_stand_at_their_fields(t) {
    const { site } = t;
    t.expect(statuses(409, 422));
    const holder = await site.account();
    const page = await enter(t, site, holder);
    await site.credential('web', holder.name);
    const cases = [
      ['x', 'passw0rd-typed', 'username'],
      ['with space', 'passw0rd-typed', 'username'],
      [holder.name, 'passw0rd-typed', 'username'],
      ['good-name', 'short1', 'password'],
      ['good-name', 'onlyletters', 'password'],
      ['good-name', 'password1', 'password'],
      ['good-name', '', 'password'],
    ];
    for (const [name, password, field] of cases) {
      await page.goto(`${site.console}/credentials/add`);
      await page.getByLabel('Username').fill(name);
      await page.locator('[name=note]').fill('kept');
      await page.locator('input[name=email]').uncheck();
      await page.locator('input[name=web]').check();
      await page.getByLabel('Type one').check();
      await page.locator('input[name=password]').fill(password);
      await press(page, 'Add the credential');
      const what = `${name}, ${password}`;
      assert.match(await page.title(), /^Error: /, what);
      const focused = await page.evaluate(() => document.activeElement.getAttribute('role'));
      assert.equal(focused, 'alert', `the summary has the focus: ${what}`);
      const at = page.locator(`[name=${field}]`);
      assert.equal(await at.getAttribute('aria-invalid'), 'true', what);
      const described = (await at.getAttribute('aria-describedby')).split(' ').map((id) => page.locator(`#${id}`).innerText());
      const text = (await Promise.all(described)).join(' ');
      const link = page.locator('.summary a').first();
      assert.ok(text.includes(await link.innerText()), text);
      await link.click();
      assert.equal(await page.evaluate(() => document.activeElement.name), field, what);
      assert.equal(await page.locator('[name=username]').inputValue(), name);
      assert.equal(await page.locator('[name=note]').inputValue(), 'kept');
      assert.equal(await page.locator('[name=email]').isChecked(), false);
      assert.equal(await page.locator('[name=password]').inputValue(), '', 'a password is never filled in again');
    }
  },

  async edit(t) {
    const { site } = t;
    const holder = await site.account();
    const user = await site.credential('web', holder.name);
    const page = await enter(t, site, holder);
    assert.ok(await isGood(t, site, user.name, user.password));
    await open(page, site, user.name);
    await page.locator('[name=note]').fill('for the reports');
    await page.locator('input[name=api]').check();
    await press(page, 'Save');
    assert.match(await main(page), IN_EFFECT);
    await page.goto(`${site.console}/credentials?q=${user.name}`);
    assert.match(await main(page), /for the reports/);
    const pills = await page.locator('tbody .pill').allInnerTexts();
    assert.deepEqual(pills, ['api', 'web']);
    // A new password ends the old one, and the sessions of the old one.
    const other = await t.page(await t.context());
    await other.goto(site.app);
    await logIn(other, user);
    await open(page, site, user.name);
    await page.getByLabel('Generate a new one').check();
    await press(page, 'Save');
    const password = await page.locator('#new-password').innerText();
    t.expect(statuses(401));
    await other.goto(`${site.app}/again`);
    assert.equal(path(other), '/-/gatepost/login');
    assert.ok(!(await isGood(t, site, user.name, user.password)));
    assert.ok(await isGood(t, site, user.name, password));
    // Without "web" it can't log in.
    t.expect(statuses(403));
    await open(page, site, user.name);
    await page.locator('input[name=web]').uncheck();
    await press(page, 'Save');
    assert.ok(!(await isGood(t, site, user.name, password)));
  },

  async a_permission_above_the_rights_has_no_effect(t) {
    const { site } = t;
    const holder = await site.account('email,api,web');
    const user = await site.credential('email,web', holder.name);
    await site.command('account', 'rights', holder.name, 'api,web');
    const page = await enter(t, site, holder);
    await page.goto(`${site.console}/credentials?q=${user.name}`);
    assert.match(await main(page), /email/);
    assert.equal(await page.locator('.pill.without-effect').count(), 1);
    await page.goto(`${site.console}/credentials/add`);
    assert.ok(await page.locator('input[name=email]').isDisabled());
  },

  async remove(t) {
    const { site } = t;
    t.expect(statuses(401, 404));
    const holder = await site.account();
    const user = await site.credential('web', holder.name);
    const their = await t.page(await t.context());
    await their.goto(site.app);
    await logIn(their, user);
    const page = await enter(t, site, holder);
    await page.goto(`${site.console}/credentials?q=${user.name}`);
    await press(page, `Remove ${user.name}`, 'link');
    assert.equal(await heading(page), `Remove ${user.name}?`);
    const address = page.url();
    await press(page, `Remove ${user.name}`);
    assert.equal(path(page), '/credentials');
    assert.match(await main(page), new RegExp(`${user.name}[^]*${IN_EFFECT.source}`));
    await their.goto(`${site.app}/removed`);
    assert.equal(path(their), '/-/gatepost/login');
    const gone = await page.goto(address);
    assert.equal(gone.status(), 404);
  },

  async a_removal_of_several(t) {
    const { site } = t;
    const holder = await site.account();
    await site.fill(holder.name, `${holder.name}.many`, 8);
    const page = await enter(t, site, holder);
    const all = await listed(page);
    assert.equal(all.length, 8);
    // Nothing selected.
    await page.getByRole('button', { name: 'Remove selected' }).click();
    await page.getByText('Select credentials first').waitFor();
    for (const name of all.slice(0, 3)) await page.getByLabel(`Select ${name}`).check();
    await page.getByText('3 selected').waitFor();
    await press(page, 'Remove selected');
    assert.equal(await heading(page), 'Remove 3 credentials?');
    for (const name of all.slice(0, 3)) assert.ok((await main(page)).includes(name));
    await press(page, 'Keep them', 'link');
    assert.equal((await listed(page)).length, 8);
    for (const name of all.slice(0, 3)) await page.getByLabel(`Select ${name}`).check();
    await press(page, 'Remove selected');
    await press(page, 'Remove 3 credentials');
    assert.match(await main(page), IN_EFFECT);
    assert.deepEqual(await listed(page), all.slice(3));
    // All on the page.
    await page.locator('[data-select-all]').check();
    await page.getByText('5 selected').waitFor();
    await press(page, 'Remove selected');
    await press(page, 'Remove 5 credentials');
    assert.match(await main(page), /Add your first credential/);
  },

  async pages_and_search(t) {
    const { site } = t;
    const holder = await site.account();
    await site.fill(holder.name, `${holder.name}.alpha`, 70);
    await site.fill(holder.name, `${holder.name}.beta`, 50);
    const page = await enter(t, site, holder);
    const seen = [];
    for (let count = 1; ; count += 1) {
      const shown = await listed(page);
      seen.push(...shown);
      const next = page.getByRole('link', { name: 'Next', exact: true });
      if (!(await next.count())) break;
      assert.equal(shown.length, 50);
      await press(page, 'Next', 'link');
    }
    assert.equal(seen.length, 120);
    assert.equal(new Set(seen).size, 120, 'each once');
    await press(page, 'Previous', 'link');
    assert.deepEqual(await listed(page), seen.slice(50, 100));
    await press(page, 'First', 'link');
    assert.deepEqual(await listed(page), seen.slice(0, 50));
    await press(page, 'Show 200', 'link');
    assert.deepEqual(await listed(page), seen);
    await page.getByLabel('Name begins with').fill(`${holder.name.toUpperCase()}.BETA`);
    await press(page, 'Show');
    assert.equal((await listed(page)).length, 50);
    await page.getByLabel('Name begins with').fill('nothing-of-that-name');
    await press(page, 'Show');
    assert.match(await main(page), /No credential matches/);
  },

  async states_and_last_use(t) {
    const { site } = t;
    const holder = await site.account();
    const [used, unused] = [await site.credential('web', holder.name), await site.credential('web', holder.name)];
    assert.ok(await isGood(t, site, used.name, used.password));
    const page = await enter(t, site, holder);
    const state = async (name) => {
      await page.goto(`${site.console}/credentials?q=${name}`);
      return page.locator('table.credentials tbody').innerText();
    };
    await until('the use is known', async () => /Active/.test(await state(used.name)));
    assert.match(await state(used.name), /dashboard, 127\./i);
    assert.match(await state(unused.name), /Never used/);
    await page.goto(`${site.console}/credentials`);
    await page.getByLabel('State').selectOption({ label: 'Never used' });
    await press(page, 'Show');
    const names = await listed(page);
    assert.ok(!names.includes(used.name), names.join());
  },

  async sessions(t) {
    const { site } = t;
    const holder = await site.account();
    const contexts = [];
    for (let count = 0; count < 4; count += 1) contexts.push(await t.context());
    const [page, second, third] = await Promise.all(contexts.slice(0, 3).map((context) => enter(t, site, holder, context)));
    const gate = await t.page(contexts[3]);
    await gate.goto(site.app);
    await logIn(gate, holder);
    await page.goto(`${site.console}/sessions`);
    const rows = page.locator('tbody tr');
    assert.equal(await rows.count(), 4);
    const shown = await page.locator('tbody').innerText();
    assert.match(shown, /Chrom[^\n]* on Linux/);
    assert.match(shown, /127\.\d+\.\d+\.\d+/);
    assert.equal(await rows.filter({ hasText: 'This session' }).count(), 1);
    assert.equal(await rows.filter({ hasText: 'Dashboard' }).count(), 1);
    // The session at the gate ends.
    await Promise.all([page.waitForNavigation(), rows.filter({ hasText: 'Dashboard' }).getByRole('button').click()]);
    assert.match(await main(page), IN_EFFECT);
    assert.equal(await rows.count(), 3);
    await gate.goto(`${site.app}/ended`);
    assert.equal(path(gate), '/-/gatepost/login');
    await press(page, 'End all other sessions');
    if (await page.getByRole('button', { name: 'End all other sessions' }).count()) await press(page, 'End all other sessions');
    assert.match(await main(page), IN_EFFECT);
    assert.equal(await rows.count(), 1);
    for (const other of [second, third]) {
      await other.goto(`${site.console}/credentials`);
      assert.equal(path(other), '/login');
    }
    await page.goto(`${site.console}/credentials`);
    assert.equal(path(page), '/credentials');
  },

  async activity(t) {
    const { site } = t;
    t.expect(statuses(401, 403));
    const holder = await site.account();
    const user = await site.credential('api', holder.name);
    const page = await enter(t, site, holder);
    await add(page, site, `${holder.name}.new`);
    assert.ok(!(await isGood(t, site, user.name, 'wrong-passw0rd')));
    assert.ok(!(await isGood(t, site, user.name, user.password)), 'it lacks the permission');
    await page.goto(`${site.console}/activity`);
    const rows = await page.locator('tbody tr').allInnerTexts();
    const row = (...words) => rows.find((row) => words.every((word) => row.toLowerCase().includes(word.toLowerCase())));
    assert.ok(row('Change', `${holder.name}.new`), rows.join('\n'));
    assert.ok(row('Denied', user.name, 'password', '127.'), rows.join('\n'));
    assert.ok(row('Denied', user.name, 'permission', 'dashboard'), rows.join('\n'));
    // It is of this account only.
    const other = await enter(t, site, await site.account(), await t.context());
    await other.goto(`${site.console}/activity`);
    assert.ok(!(await main(other)).includes(user.name));
  },

  async the_own_page_of_a_credential(t) {
    const { site } = t;
    t.expect(statuses(401, 403, 422));
    const holder = await site.account();
    const user = await site.credential('web,email', holder.name);
    const page = await enter(t, site, user);
    assert.equal(path(page), '/own');
    const shown = await main(page);
    for (const word of [user.name, holder.name, 'email', 'web']) assert.ok(shown.includes(word), shown);
    assert.deepEqual(await page.locator('nav.sections a').allInnerTexts(), ['This credential', 'Sessions']);
    for (const place of ['/credentials', '/credentials/add', '/activity', '/credentials/1', '/credentials/remove?id=1']) {
      const answer = await page.goto(site.console + place);
      assert.equal(answer.status(), 403, place);
    }
    const change = async (current, password, again = password) => {
      await page.goto(`${site.console}/own`);
      await page.getByLabel('Current password').fill(current);
      await page.getByLabel('New password', { exact: true }).fill(password);
      await page.getByLabel('New password again').fill(again);
      await press(page, 'Change the password');
    };
    await change('wrong-passw0rd', 'another-passw0rd');
    assert.equal(await page.locator('[name=current]').getAttribute('aria-invalid'), 'true');
    await change(user.password, 'another-passw0rd', 'different-passw0rd');
    assert.equal(await page.locator('[name=again]').getAttribute('aria-invalid'), 'true');
    await change(user.password, 'password1');
    assert.equal(await page.locator('[name=password]').getAttribute('aria-invalid'), 'true');
    await change(user.password, 'another-passw0rd');
    assert.ok(!(await isGood(t, site, user.name, user.password)));
    assert.ok(await isGood(t, site, user.name, 'another-passw0rd'));
  },

  async a_change_asks_for_the_password_after_five_minutes(t) {
    const site = t.sites.aging;
    t.expect(statuses(401, 403, 422));
    const holder = await site.account();
    const user = await site.credential('web', holder.name);
    const page = await enter(t, site, holder);
    await open(page, site, user.name);
    const edit = page.url();
    assert.equal(await page.locator('input[name=confirm]').count(), 0);
    await site.clock('+6m');
    await page.goto(edit);
    await page.locator('[name=note]').fill('changed late');
    await page.locator('input[name=confirm]').fill('wrong-passw0rd');
    await press(page, 'Save');
    assert.equal(await page.locator('[name=confirm]').getAttribute('aria-invalid'), 'true');
    assert.equal(await page.locator('[name=note]').inputValue(), 'changed late');
    await page.locator('input[name=confirm]').fill(holder.password);
    await press(page, 'Save');
    assert.match(await main(page), IN_EFFECT);
    await page.goto(edit);
    assert.equal(await page.locator('input[name=confirm]').count(), 0, 'it was just given');
    assert.equal(await page.locator('[name=note]').inputValue(), 'changed late');
    // A form that was opened before, and sent without the password, changes nothing.
    await page.locator('[name=note]').fill('sent without');
    await site.clock('+12m');
    await press(page, 'Save');
    assert.ok(await page.locator('input[name=confirm]').isVisible());
    assert.equal(await page.locator('[name=note]').inputValue(), 'sent without');
    await page.goto(edit);
    assert.equal(await page.locator('[name=note]').inputValue(), 'changed late');
  },

  async a_form_that_is_sent_after_the_session_has_ended(t) {
    const { site } = t;
    t.expect(statuses(401, 403));
    const holder = await site.account();
    const page = await enter(t, site, holder);
    await page.goto(`${site.console}/credentials/add`);
    await page.getByLabel('Username').fill(`${holder.name}.late`);
    await page.locator('[name=note]').fill('typed before');
    await page.locator('input[name=web]').check();
    await site.command('session', 'end', holder.name);
    await press(page, 'Add the credential');
    assert.match(await main(page), /nothing was (changed|sent)/i);
    await logIn(page, holder);
    assert.equal(path(page), '/credentials/add');
    assert.equal(await page.getByLabel('Username').inputValue(), `${holder.name}.late`);
    await press(page, 'Add the credential');
    assert.match(await main(page), IN_EFFECT);
  },

  async logout(t) {
    const { site } = t;
    const holder = await site.account();
    const page = await enter(t, site, holder);
    await page.goto(`${site.console}/activity`);
    await press(page, 'Log out');
    assert.equal(path(page), '/login');
    assert.match(await main(page), /logged out/);
    await page.goBack();
    assert.equal(path(page), '/login', 'what was shown does not come back');
    assert.deepEqual(await t.main.cookies(site.console), []);
    await logIn(page, holder);
    assert.notEqual(path(page), '/login');
  },

  async a_deep_link_is_reached_by_way_of_the_login(t) {
    const { site } = t;
    const holder = await site.account();
    const page = await t.page();
    await page.goto(`${site.console}/credentials?q=a%26b&limit=100`);
    assert.equal(path(page), '/login');
    await logIn(page, holder);
    assert.equal(page.url(), `${site.console}/credentials?q=a%26b&limit=100`);
  },

  async by_keyboard_alone(t) {
    const { site } = t;
    t.expect(statuses(422));
    const holder = await site.account();
    const page = await t.page();
    await page.goto(site.console);
    const enterKey = () => Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')]);
    await page.keyboard.type(holder.name);
    await page.keyboard.press('Tab');
    await page.keyboard.type(holder.password);
    await enterKey();
    const first = await tabTo(page, 'Add a credential');
    assert.match(first[0], /skip to the content/i);
    const order = ['Credentials', 'Activity', 'Sessions'];
    assert.deepEqual(first.filter((text) => order.includes(text)), order);
    await enterKey();
    // An error first.
    await page.keyboard.type('x');
    await enterKey();
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute('role')), 'alert');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate(() => document.activeElement.name), 'username');
    await page.keyboard.press('Control+A');
    await page.keyboard.type(`${holder.name}.keys`);
    await tabTo(page, 'email');
    const email = page.locator('input[name=email]');
    const was = await email.isChecked();
    await page.keyboard.press('Space');
    assert.equal(await email.isChecked(), !was);
    await tabTo(page, 'Add the credential');
    await enterKey();
    assert.equal(await heading(page), `Added ${holder.name}.keys`);
    await tabTo(page, 'Done');
    await enterKey();
    assert.deepEqual(await listed(page), [`${holder.name}.keys`]);
    await tabTo(page, 'Remove');
    await enterKey();
    await tabTo(page, `Remove ${holder.name}.keys`);
    await enterKey();
    assert.match(await main(page), IN_EFFECT);
    // The skip link leads past the navigation.
    await page.goto(`${site.console}/activity`);
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate(() => document.activeElement.tagName), 'MAIN');
  },

  async without_javascript(t) {
    const { site } = t;
    t.expect(statuses(422));
    const holder = await site.account();
    const page = await enter(t, site, holder, await t.context({ javaScriptEnabled: false }));
    const names = ['one', 'two'].map((name) => `${holder.name}.${name}`);
    const password = await add(page, site, names[0]);
    assert.ok(await isGood(t, site, names[0], password));
    await add(page, site, names[1], { password: 'typed-passw0rd-7' });
    assert.ok(await isGood(t, site, names[1], 'typed-passw0rd-7'));
    await page.goto(`${site.console}/credentials`);
    assert.deepEqual(await listed(page), names);
    await press(page, 'Remove selected');
    assert.ok((await main(page)).length > 0, 'nothing was selected');
    await page.goto(`${site.console}/credentials`);
    for (const name of names) await page.getByLabel(`Select ${name}`).check();
    await press(page, 'Remove selected');
    await press(page, 'Remove 2 credentials');
    assert.match(await main(page), IN_EFFECT);
    await press(page, 'Log out');
    assert.equal(path(page), '/login');
  },

  async over_cleartext(t) {
    const site = t.sites.cleartext;
    const holder = await site.account();
    const page = await enter(t, site, holder);
    const password = await add(page, site, `${holder.name}.clear`);
    assert.ok(password);
    // Where the browser gives no clipboard, the text is selected.
    await page.evaluate(() => { navigator.clipboard.writeText = () => Promise.reject(new Error('denied')); });
    await page.locator('[data-copy=new-password]').click();
    await until('it is selected', async () => (await page.evaluate(() => String(getSelection()).trim())) === password);
    await press(page, 'Log out');
    assert.equal(path(page), '/login');
  },

  async revoked_while_the_page_is_open(t) {
    const { site } = t;
    t.expect(statuses(401));
    const holder = await site.account();
    const user = await site.credential('web', holder.name);
    const pages = [await enter(t, site, holder), await enter(t, site, user, await t.context())];
    await site.command('account', 'suspend', holder.name);
    for (const page of pages) {
      await page.reload();
      assert.equal(path(page), '/login');
    }
  },
};

run(
  {
    site: {},
    cleartext: { scheme: 'http' },
    aging: { clock: 'set by the script' },
  },
  scenarios,
);
