// Takes steps in Chromium and writes their results to stdout, as one JSON list. CLIENT is playwright-core; the argument is a JSON list
// of steps:
//   {"page": URL, "run": SOURCE}            the result of an async function with that body, on a page of that URL
//   {"page": URL, "form": HTML}             the status and the text of what comes when the form is submitted
//   {"visit": URL}                          the status of a page; with a login in the URL, which the browser stores
// With "login": [USERNAME, PASSWORD], a step has a browser that answers every challenge with it. Other steps share one.
const { chromium } = require(process.env.CLIENT);
const steps = JSON.parse(process.argv[2]);

async function take(page, step) {
  const arrived = await page.goto(step.visit || step.page);
  if (step.visit) return arrived.status();
  if (step.run) return page.evaluate(`(async () => { ${step.run} })()`);
  await page.evaluate((html) => { document.body.innerHTML = html; }, step.form);
  const [answer] = await Promise.all([
    page.waitForNavigation({ waitUntil: 'commit' }),
    page.evaluate(() => document.forms[0].submit()),
  ]);
  return [answer.status(), await answer.text()];
}

(async () => {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    chromiumSandbox: false,
    args: ['--disable-gpu', '--disable-quic', '--disable-dev-shm-usage'],
  });
  try {
    const shared = await browser.newContext();
    const results = [];
    for (const step of steps) {
      const [username, password] = step.login || [];
      const context = step.login ? await browser.newContext({ httpCredentials: { username, password } }) : shared;
      const page = await context.newPage();
      results.push(await take(page, step));
      await page.close();
    }
    console.log(JSON.stringify(results));
  } finally {
    await browser.close();
  }
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
