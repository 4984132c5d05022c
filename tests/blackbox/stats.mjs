// SPDX-License-Identifier: Apache-2.0
//
// /ws/stats as the dashboard's hook of the message buffer uses it: it connects, shows what comes, and
// connects again when the connection is lost.
//
//   node stats.mjs NPM HOST:PORT TOKEN RESTART      RESTART: this file asks for a restart
import { createRequire } from 'node:module';
import { writeFileSync } from 'node:fs';
import assert from 'node:assert/strict';

const [npm, host, token, restart] = process.argv.slice(2);
const WebSocket = createRequire(npm + '/')('ws');
const PATIENCE_MS = 15000;
const KEYS = 'avg_batch_size current_rps messages_per_second queue_depth queue_length timestamp total_batches total_messages';

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

async function until(what, condition) {
    const end = Date.now() + PATIENCE_MS;
    for (;;) {
        const value = condition();
        if (value) return value;
        if (Date.now() > end) throw new Error(`not within its time: ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
}

// What the hook keeps.
const state = { connected: false, connects: 0, stats: [], raw: [], history: [] };
let socket;
function connectWebSocket() {
    socket = new WebSocket(`ws://${host}/ws/stats?token=${token}`);
    socket.on('open', () => { state.connected = true; state.connects++; });
    socket.on('error', () => {});
    socket.on('message', (bytes) => {
        const data = JSON.parse(bytes.toString());
        state.raw.push({ at: Date.now(), data });
        state.stats.push({
            total_messages: data.total_messages || 0,
            queue_depth: data.queue_depth || 0,
            messages_per_second: data.messages_per_second || 0,
            total_batches: data.total_batches || 0,
            avg_batch_size: data.avg_batch_size || 0,
        });
        state.history = [...state.history, { messages: data.messages_per_second }].slice(-20);
    });
    socket.on('close', () => { state.connected = false; setTimeout(connectWebSocket, 3000); });
}

const refusal = (url, options) => new Promise((resolve) => {
    const refused = new WebSocket(url, options);
    refused.on('unexpected-response', (request, response) => resolve(response.statusCode));
    refused.on('open', () => resolve('open'));
    refused.on('error', () => {});
});

await test('without a token it is 401, before the upgrade', async () => {
    assert.equal(await refusal(`ws://${host}/ws/stats`), 401);
    assert.equal(await refusal(`ws://${host}/ws/stats?token=nonsense`), 401);
});
await test('another origin is 403', async () => {
    assert.equal(await refusal(`ws://${host}/ws/stats?token=${token}`, { origin: 'http://evil.example' }), 403);
});
await test('the first numbers come at once, with exactly the keys', async () => {
    const before = Date.now();
    connectWebSocket();
    const [first] = await until('the first', () => state.raw.length > 0 && state.raw);
    assert.ok(Date.now() - before < 5000);
    assert.equal(Object.keys(first.data).sort().join(' '), KEYS);
    assert.match(first.data.timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$/);
    assert.ok(Number.isInteger(first.data.total_messages) && Number.isInteger(first.data.queue_depth));
});
await test('and then every 500 ms', async () => {
    await until('nine', () => state.raw.length >= 9);
    const from = state.raw[1].at, to = state.raw[8].at;
    assert.ok(Math.abs((to - from) / 7 - 500) < 60, `${(to - from) / 7} ms`);
});
await test('events show in them', async () => {
    const answers = await Promise.all(Array.from({ length: 100 }, (_, n) =>
        fetch(`http://${host}/messages?ack=stored`, {
            method: 'POST',
            headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
            body: JSON.stringify({ user_id: n, channel_id: 1, content: `Test ${n}` }),
        })));
    answers.forEach((answer) => assert.equal(answer.status, 202));
    const last = await until('100 of them', () => state.stats.find((stats) => stats.total_messages === 100 && stats.total_batches > 0));
    assert.equal(last.queue_depth, 0);
    assert.ok(last.messages_per_second > 0);
    assert.ok(last.avg_batch_size >= 1);
});
await test('after a restart the hook has them again', async () => {
    writeFileSync(restart, '');
    await until('the connection is lost', () => !state.connected);
    await until('it is there again', () => state.connects === 2 && state.connected);
    const before = state.raw.length;
    await until('numbers come', () => state.raw.length > before + 2);
});
await test('a close is answered', async () => {
    socket.removeAllListeners('close');
    const closed = new Promise((resolve) => socket.on('close', (code) => resolve(code)));
    socket.close(1000, 'enough');
    assert.equal(await closed, 1000);
});
process.exit(failed > 0 ? 1 : 0);
