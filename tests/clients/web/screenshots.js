// Takes the pictures of the README from a running demo. CLIENT is playwright-core; the argument is JSON: { console, web, login: [NAME,
// PASSWORD], into: DIRECTORY }.
const { chromium } = require(process.env.CLIENT);
const { console: consoleUrl, web, login, into } = JSON.parse(process.argv[2]);

async function logIn(page) {
  await page.getByLabel('Username').fill(login[0]);
  await page.getByLabel('Password').fill(login[1]);
  await Promise.all([page.waitForNavigation(), page.getByRole('button', { name: 'Log in' }).click()]);
  // The gate leads on by a page of its own.
  await page.waitForURL((url) => !url.searchParams.has('sent'));
  await page.waitForLoadState();
}

(async () => {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    chromiumSandbox: false,
    args: ['--disable-gpu', '--disable-dev-shm-usage', '--font-render-hinting=none'],
  });
  const desk = { viewport: { width: 1200, height: 760 } };
  const phone = { viewport: { width: 375, height: 720 }, deviceScaleFactor: 1.5, isMobile: true, hasTouch: true };
  const pictures = [
    ['console-light', { ...desk, colorScheme: 'light' }, `${consoleUrl}/credentials`, true],
    ['console-dark', { ...desk, colorScheme: 'dark' }, `${consoleUrl}/activity`, true],
    ['login', { viewport: { width: 600, height: 560 }, colorScheme: 'light' }, web, false],
    ['phone', { ...phone, colorScheme: 'light' }, `${consoleUrl}/credentials`, true],
  ];
  for (const [name, options, url, isLoggedIn] of pictures) {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    await page.goto(url);
    if (isLoggedIn) await logIn(page);
    // The cursor of a field blinks.
    await page.evaluate(() => document.activeElement.blur());
    await page.screenshot({ path: `${into}/${name}.png`, caret: 'hide', animations: 'disabled' });
    await context.close();
  }
  await browser.close();
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
