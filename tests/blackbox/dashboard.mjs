// SPDX-License-Identifier: Apache-2.0
//
// The dashboard in a real browser: numbers, chart and feed move, nothing is loaded from elsewhere, and
// nothing is complained about.
//
//   node dashboard.mjs NPM CHROMIUM HOST:PORT TOKEN SCREENSHOT
import { createRequire } from 'node:module';
import assert from 'node:assert/strict';

const [npm, chromium, host, token, screenshot] = process.argv.slice(2);
const puppeteer = createRequire(npm + '/')('puppeteer-core');
const browser = await puppeteer.launch({ executablePath: chromium, headless: true, args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] });
let failed = 0;

async function test(name, run) {
    try {
        await run();
        console.log(`ok ${name}`);
    } catch (error) {
        failed++;
        console.log(`not ok ${name}`);
        console.log(String(error.stack || error).split('\n').slice(0, 8).map((line) => `  # ${line}`).join('\n'));
    }
}

async function post(events) {
    const answer = await fetch(`http://${host}/events`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify(events),
    });
    assert.equal(answer.status, 202);
}

const page = await browser.newPage();
const complaints = [], elsewhere = [];
await page.setViewport({ width: 1100, height: 900 });
page.on('pageerror', (error) => complaints.push(error.message));
page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
page.on('request', (request) => { if (!request.url().includes(host) && !request.url().startsWith('data:')) elsewhere.push(request.url()); });
const wait = (what, condition, ...rest) => page.waitForFunction(condition, { timeout: 20000 }, ...rest).catch(() => { throw new Error(`not within its time: ${what}`); });

await test('it connects with the token of its address, which then is gone from there', async () => {
    await page.goto(`http://${host}/#token=${token}`);
    await wait('live', () => document.getElementById('state').className === 'on');
    assert.ok(!page.url().includes(token));
});
await test('the numbers are shown', async () => {
    await post(Array.from({ length: 2000 }, (_, n) => ({ type: 'page_view', data: { n } })));
    await wait('2,000', () => document.getElementById('total_messages').textContent === '2,000');
    await wait('a rate', () => parseFloat(document.getElementById('messages_per_second').textContent.replace(',', '')) > 0);
});
await test('the feed shows what a room is told, as text', async () => {
    await page.type('#room', 'lobby');
    await page.click('#follow button');
    await wait('following', () => document.getElementById('note').textContent.startsWith('Following'));
    await post({ type: 'send_message', roomId: 'lobby', data: { message: '<img src=x onerror=alert(1)>' } });
    await wait('the message', () => document.querySelector('#feed li')?.textContent.includes('chat_message') && document.querySelector('#feed li').textContent.includes('<img src=x'));
    assert.equal(await page.$('#feed img'), null);
});
await test('the chart is drawn', async () => {
    const inked = await page.evaluate(() => {
        const canvas = document.getElementById('chart');
        return canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some((byte) => byte !== 0);
    });
    assert.ok(inked);
});
await test('nothing came from elsewhere, and nothing was complained about', async () => {
    assert.deepEqual(elsewhere, []);
    assert.deepEqual(complaints, []);
});
if (screenshot) await page.screenshot({ path: screenshot });
await test('without a token it says what is missing', async () => {
    const stranger = await browser.newPage();
    await stranger.evaluateOnNewDocument(() => sessionStorage.clear());
    await stranger.goto(`http://${host}/`);
    await stranger.waitForFunction(() => document.getElementById('state').textContent.includes('token'), { timeout: 20000 });
    await stranger.waitForFunction(() => document.getElementById('note').textContent.includes('token'), { timeout: 20000 });
});
await browser.close();
process.exit(failed > 0 ? 1 : 0);
