// Submits the form at a URL by Chromium, as somebody would who fills it in, and writes the status and the answer to stdout.
// CLIENT is playwright-core; arguments: URL, file, username, password.
const { chromium } = require(process.env.CLIENT);
const [url, file, username, password] = process.argv.slice(2);

(async () => {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    chromiumSandbox: false,
    args: ['--disable-gpu', '--disable-quic', '--disable-dev-shm-usage'],
  });
  try {
    const page = await browser.newPage();
    await page.goto(url);
    await page.fill('[name=api_user]', username);
    await page.fill('[name=api_key]', password);
    await page.setInputFiles('[name="files[a]"]', file);
    const [answer] = await Promise.all([
      page.waitForNavigation({ waitUntil: 'commit' }),
      page.click('button'),
    ]);
    console.log(answer.status(), await answer.text());
  } finally {
    await browser.close();
  }
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
