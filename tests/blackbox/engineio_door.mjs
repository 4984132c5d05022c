// SPDX-License-Identifier: Apache-2.0
//
// The Engine.IO test door from outside: raw HTTP and WebSockets, then the stock clients of both protocols.
//   node engineio_door.mjs PACKAGES HOST:PORT INTERVAL TIMEOUT
import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { createRequire } from 'node:module';

const [packages, host, interval, timeout] = process.argv.slice(2);
const need = createRequire(packages + '/');
const WebSocket = need('ws');
const { Socket: Client4 } = need('engine.io-client');
const Client3 = need('eio3');
const INTERVAL = Number(interval), TIMEOUT = Number(timeout);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const tests = [];
// With the suites' short times one after the other; with long ones what needs them.
const test = (name, run) => INTERVAL < 1000 && tests.push([name, run]);
const crowd = (name, run) => INTERVAL >= 1000 && tests.push([name, run]);

// ── Raw requests, each on a connection of its own unless an agent is given ──────────────────────

function request(method, query, { body, headers = {}, agent } = {}) {
    return new Promise((resolve, reject) => {
        const options = { method, headers, agent: agent ?? new http.Agent() };
        const made = http.request(`http://${host}/engine.io/?${query}`, options, (response) => {
            const chunks = [];
            response.on('data', (chunk) => chunks.push(chunk));
            response.on('error', reject);
            response.on('end', () => {
                const bytes = Buffer.concat(chunks);
                resolve({ status: response.statusCode, headers: response.headers, bytes, text: bytes.toString() });
            });
        });
        made.on('error', reject);
        made.end(body);
    });
}
const get = (query, options) => request('GET', query, options);
const post = (query, body, headers) => request('POST', query, { body, headers });

// The packets of a payload, and a payload of packets.
const join = (eio, packets) =>
    eio === 4 ? packets.join('\x1e') : packets.map((packet) => `${packet.length}:${packet}`).join('');

async function shake(eio, more = '') {
    const { text } = await get(`EIO=${eio}&transport=polling${more}`);
    const { sid } = JSON.parse(text.slice(text.indexOf('{')));
    return { polling: `EIO=${eio}&transport=polling&sid=${sid}`, websocket: `EIO=${eio}&transport=websocket&sid=${sid}` };
}

async function answers(expected, method, query, options) {
    const { status, text } = await request(method, query, options);
    assert.deepEqual([status, text], expected);
}
const refusal = (code, message) => [400, JSON.stringify({ code, message })];
const UNKNOWN_TRANSPORT = refusal(0, 'Transport unknown'), UNKNOWN_SID = refusal(1, 'Session ID unknown');
const BAD_METHOD = refusal(2, 'Bad handshake method'), BAD_REQUEST = refusal(3, 'Bad request');
const BAD_PROTOCOL = refusal(5, 'Unsupported protocol version');

// ── Raw WebSockets: what comes is kept, so that nothing is missed ───────────────────────────────

class Line {
    constructor(query) {
        this.ws = new WebSocket(`ws://${host}/engine.io/?${query}`);
        this.heard = [];
        this.waiting = [];
        this.opened = new Promise((resolve) => this.ws.on('open', resolve));
        this.closed = new Promise((resolve) => this.ws.on('close', (code) => resolve(code)));
        this.refused = new Promise((resolve) => this.ws.on('unexpected-response', (_, response) => resolve(response)));
        this.ws.on('error', () => {});
        this.ws.on('message', (data, binary) => {
            this.heard.push(binary ? data : data.toString());
            this.waiting.shift()?.();
        });
        this.closed.then(() => this.waiting.forEach((wake) => wake()));
    }
    async next() {
        if (this.heard.length === 0) await new Promise((resolve) => this.waiting.push(resolve));
        return this.heard.shift();
    }
    say(text) { this.ws.send(text); }
}

// ── The published suites' cases, and what lies beside them, for both protocols ──────────────────

for (const eio of [4, 3]) {
    const it = (name, run) => test(`EIO ${eio}: ${name}`, run);
    const base = `EIO=${eio}&transport=polling`;
    const text = eio === 3 ? '&b64=1' : '';

    it('a session is opened by polling', async () => {
        const { status, text: body, headers } = await get(base);
        assert.equal(status, 200);
        assert.equal(headers['content-type'], 'text/plain; charset=UTF-8');
        assert.equal(headers['cache-control'], 'no-store');
        const packet = eio === 3 ? body.slice(body.indexOf(':') + 1) : body;
        if (eio === 3) assert.equal(body, `${packet.length}:${packet}`);
        assert.equal(packet[0], '0');
        const value = JSON.parse(packet.slice(1));
        assert.deepEqual(Object.keys(value), ['sid', 'upgrades', 'pingInterval', 'pingTimeout', 'maxPayload']);
        assert.match(value.sid, /^[A-Za-z0-9_-]{28}$/);
        assert.deepEqual({ ...value, sid: 0 },
            { sid: 0, upgrades: ['websocket'], pingInterval: INTERVAL, pingTimeout: TIMEOUT, maxPayload: 1000000 });
    });
    it('a session is opened by WebSocket', async () => {
        const line = new Line(`EIO=${eio}&transport=websocket`);
        const value = JSON.parse((await line.next()).slice(1));
        assert.deepEqual({ ...value, sid: 0 },
            { sid: 0, upgrades: [], pingInterval: INTERVAL, pingTimeout: TIMEOUT, maxPayload: 1000000 });
        line.ws.close();
        await line.closed;
    });
    it('bad handshakes are refused', async () => {
        await answers(UNKNOWN_TRANSPORT, 'GET', `EIO=${eio}`);
        await answers(UNKNOWN_TRANSPORT, 'GET', `EIO=${eio}&transport=abc`);
        await answers(BAD_PROTOCOL, 'GET', 'transport=polling');
        await answers(BAD_PROTOCOL, 'GET', 'EIO=abc&transport=polling');
        await answers(BAD_METHOD, 'POST', base, { body: '' });
        await answers(BAD_METHOD, 'PUT', base, { body: '' });
        await answers(UNKNOWN_SID, 'GET', `${base}&sid=abc`);
        await answers(BAD_REQUEST, 'GET', `EIO=${eio}&transport=websocket`);
        for (const query of ['transport=websocket', 'EIO=abc&transport=websocket', `EIO=${eio}`,
            `EIO=${eio}&transport=abc`, `EIO=${eio}&transport=websocket&sid=abc`, `EIO=${eio}&transport=polling`])
            assert.equal((await new Line(query).refused).statusCode, 400, query);
    });
    it('messages by polling', async () => {
        const { polling } = await shake(eio, text);
        const binary = eio === 3 ? 'b4AQIDBA==' : 'bAQIDBA==';
        for (const packets of [['4hello'], ['4test1', '4test2', '4test3'], ['4hello', binary], ['4é€😀', '4']]) {
            const body = join(eio, packets);
            const { status, text: ok, headers } = await post(polling, body);
            assert.deepEqual([status, ok, headers['content-type']], [200, 'ok', 'text/html']);
            await answers([200, body], 'GET', polling);
        }
    });
    it('messages by WebSocket', async () => {
        const line = new Line(`EIO=${eio}&transport=websocket`);
        await line.next();
        line.say('4hello');
        assert.equal(await line.next(), '4hello');
        const bytes = Buffer.from(eio === 3 ? [4, 1, 2, 3] : [1, 2, 3]);
        line.say(bytes);
        assert.deepEqual(await line.next(), bytes);
        line.ws.close();
    });
    it('who listens for one thing at a time misses none', async () => {
        const ws = new WebSocket(`ws://${host}/engine.io/?EIO=${eio}&transport=websocket`);
        const one = (name) => new Promise((resolve) => ws.once(name, (data) => resolve(String(data))));
        await one('open');
        assert.match(await one('message'), /^0{/);
        ws.send('4hello');
        assert.equal(await one('message'), '4hello');
        ws.close();
    });
    it('a malformed packet closes the session', async () => {
        const { polling } = await shake(eio);
        await answers(BAD_REQUEST, 'POST', polling, { body: 'abc' });
        await answers(UNKNOWN_SID, 'GET', polling);
        const line = new Line(`EIO=${eio}&transport=websocket`);
        await line.next();
        line.say('abc');
        await line.closed;
    });
    it('a second poll closes the session', async () => {
        const { polling } = await shake(eio);
        const first = get(polling);
        await sleep(15);
        await answers(BAD_REQUEST, 'GET', polling);
        assert.equal((await first).text, join(eio, ['1']));
        await answers(UNKNOWN_SID, 'GET', polling);
    });
    it('the client closes by polling', async () => {
        const { polling } = await shake(eio);
        const [poll, close] = await Promise.all([get(polling), post(polling, join(eio, ['1']))]);
        assert.deepEqual([poll.text, close.text], [join(eio, ['6']), 'ok']);
        await answers(UNKNOWN_SID, 'GET', polling);
    });
    it('the client closes by WebSocket', async () => {
        const line = new Line(`EIO=${eio}&transport=websocket`);
        await line.next();
        line.say('1');
        await line.closed;
    });
    it('a poll that breaks off closes the session', async () => {
        const { polling } = await shake(eio);
        const [name, port] = host.split(':');
        for (const end of ['end', 'resetAndDestroy']) {
            const socket = net.connect(Number(port), name);
            socket.write(`GET /engine.io/?${polling} HTTP/1.1\r\nHost: x\r\n\r\n`);
            await sleep(30);
            socket[end]();
            for (let i = 0; i < 100; i++) {
                const { status } = await request('PUT', polling, { body: '' });
                const { text: said } = await request('PUT', polling, { body: '' });
                assert.equal(status, 400);
                if (said.includes('Session ID unknown')) return;
                await sleep(5);
            }
            assert.fail('it is still there');
        }
    });
    it('a silent client is gone', async () => {
        const { polling } = await shake(eio);
        await sleep(INTERVAL + TIMEOUT);
        await answers(UNKNOWN_SID, 'GET', polling);
        const line = new Line(`EIO=${eio}&transport=websocket`);
        await line.closed;
    });
    it('an upgrade', async () => {
        const { polling, websocket } = await shake(eio);
        const line = new Line(websocket);
        await line.opened;
        line.say('2probe');
        assert.equal(await line.next(), '3probe');
        await answers([200, join(eio, ['6'])], 'GET', polling);
        line.say('5');
        line.say('4hello');
        assert.equal(await line.next(), '4hello');
        await answers(BAD_REQUEST, 'GET', polling);
        await answers(BAD_REQUEST, 'POST', polling, { body: join(eio, ['4x']) });
        const again = new Line(websocket);
        await again.closed;
        line.say('4still here');
        assert.equal(await line.next(), '4still here');
        line.ws.close();
        await line.closed;
    });
    it('an upgrade in a hurry', async () => {
        const { polling, websocket } = await shake(eio);
        const line = new Line(websocket);
        await line.opened;
        line.say('2probe');
        line.say('5');
        await answers(BAD_REQUEST, 'GET', polling);
        const again = new Line(websocket);
        await again.closed;
        line.say('4hello');
        assert.equal(await line.next(), '3probe');
        assert.equal(await line.next(), '4hello');
        line.ws.close();
    });
    it('an upgrade that is given up, or too slow', async () => {
        const { polling, websocket } = await shake(eio);
        const line = new Line(websocket);
        await line.opened;
        line.say('4not a probe');
        await line.closed;
        const slow = new Line(websocket); // upgrade_timeout_ms is 250 here
        await slow.opened;
        slow.say('2probe');
        await slow.closed;
        await post(polling, join(eio, ['4x']));
        const { text: said } = await get(polling);
        assert.ok(said.includes(join(eio, ['4x'])), said);
    });
    it('too long a message', async () => {
        const { polling } = await shake(eio);
        assert.equal((await post(polling, 'x'.repeat(1000001))).status, 413);
        const { text: said } = await get(polling); // a message was lost: it is over, now or in 20 ms
        assert.ok(said === join(eio, ['1']) || said === UNKNOWN_SID[1], said);
        await answers(UNKNOWN_SID, 'GET', polling);
        const line = new Line(`EIO=${eio}&transport=websocket`);
        await line.next();
        line.say('4' + 'x'.repeat(1000000));
        assert.equal(await line.closed, 1009);
    });
    it('the longest message', async () => {
        const longest = '4' + 'x'.repeat(999999);
        const line = new Line(`EIO=${eio}&transport=websocket`);
        await line.next();
        line.say(longest);
        let said;
        while ((said = await line.next()) === '2');
        assert.equal(said, longest);
        line.ws.close();
    });
}

test('EIO 4: the server pings', async () => {
    const { polling } = await shake(4);
    const line = new Line('EIO=4&transport=websocket');
    await line.next();
    for (let i = 0; i < 3; i++) {
        const [{ text }, ping] = await Promise.all([get(polling), line.next()]);
        assert.deepEqual([text, ping], ['2', '2']);
        line.say('3');
        await answers([200, 'ok'], 'POST', polling, { body: '3' });
    }
    await answers(BAD_REQUEST, 'POST', polling, { body: '2' });
    line.say('2');
    await line.closed;
});
test('EIO 3: the client pings', async () => {
    const { polling } = await shake(3);
    const line = new Line('EIO=3&transport=websocket');
    await line.next();
    for (let i = 0; i < 3; i++) {
        await answers([200, 'ok'], 'POST', polling, { body: '1:2' });
        await answers([200, '1:3'], 'GET', polling);
        line.say('2');
        assert.equal(await line.next(), '3');
        await sleep(INTERVAL / 3);
    }
    line.ws.close();
});
test('EIO 3: binary payloads both ways', async () => {
    const { polling } = await shake(3);
    await answers([200, 'ok'], 'POST', polling, { body: '6:4hello10:b4AQIDBA==' });
    const wanted = Buffer.from([0, 6, 255, 52, 104, 101, 108, 108, 111, 1, 5, 255, 4, 1, 2, 3, 4]);
    const { bytes, headers } = await get(polling);
    assert.equal(headers['content-type'], 'application/octet-stream');
    assert.deepEqual(bytes, wanted);
    const { text } = await post(polling, wanted, { 'Content-Type': 'application/octet-stream' });
    assert.equal(text, 'ok');
    assert.deepEqual((await get(polling)).bytes, wanted);
});
test('EIO 4: binary content is refused', async () => {
    const { polling } = await shake(4);
    const { status } = await post(polling, '4x', { 'Content-Type': 'application/octet-stream' });
    assert.equal(status, 400);
});
test('another protocol than its own is refused', async () => {
    const { polling } = await shake(4);
    await answers(BAD_REQUEST, 'GET', polling.replace('EIO=4', 'EIO=3'));
});
test('pages of other origins: headers and preflight', async () => {
    const headers = { Origin: 'http://localhost:3000' };
    const answer = await get('EIO=4&transport=polling', { headers });
    assert.equal(answer.headers['access-control-allow-origin'], 'http://localhost:3000');
    const preflight = await request('OPTIONS', 'EIO=4&transport=polling',
        { headers: { ...headers, 'Access-Control-Request-Method': 'POST' } });
    assert.equal(preflight.status, 204);
    assert.match(preflight.headers['access-control-allow-methods'], /POST/);
    const refused = new WebSocket(`ws://${host}/engine.io/?EIO=4&transport=websocket`, { origin: 'http://evil.example' });
    refused.on('error', () => {});
    const [, { statusCode }] = await new Promise((resolve) =>
        refused.on('unexpected-response', (...both) => resolve(both)));
    assert.equal(statusCode, 403);
});
test('HEAD begins nothing, HTTP/1.0 polls, requests may be pipelined', async () => {
    const head = await request('HEAD', 'EIO=4&transport=polling');
    assert.deepEqual([head.status, head.text], [400, '']);
    const [name, port] = host.split(':');
    const dialogue = (text) => new Promise((resolve) => {
        let said = '';
        const socket = net.connect(Number(port), name, () => socket.write(text));
        socket.on('data', (data) => { said += data; });
        socket.on('close', () => resolve(said));
    });
    const { polling } = await shake(4);
    const target = `/engine.io/?${polling}`;
    const send = (body) => `POST ${target} HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const said = await dialogue(send('4a') + send('4b') + `GET ${target} HTTP/1.0\r\n\r\n`);
    assert.equal(said.match(/HTTP\/1.1 200/g).length, 3);
    assert.ok(said.endsWith('4a\x1e4b'), said);
});

// ── Order through upgrades: nothing lost, doubled or overtaken ──────────────────────────────────

test('EIO 4: numbers sent all through an upgrade come back in order', async () => {
    for (let round = 0; round < 10; round++) {
        const { polling, websocket } = await shake(4);
        const heard = [];
        const line = new Line(websocket);
        let next = 0, probed = false;
        await line.opened;
        line.say('2probe');
        line.next().then(() => { probed = true; });
        while (!probed) {
            await post(polling, `4${next++}\x1e4${next++}`);
            for (const packet of (await get(polling)).text.split('\x1e'))
                if (packet[0] === '4') heard.push(packet);
        }
        await post(polling, `4${next++}\x1e4${next++}`); // queued, and the poll for them never comes
        line.say('5');
        for (let i = 0; i < 10; i++) line.say(`4${next++}`);
        while (heard.length < next) {
            const packet = await line.next();
            assert.notEqual(packet, undefined);
            if (packet[0] === '4') heard.push(packet);
        }
        assert.deepEqual(heard, [...Array(next).keys()].map((n) => `4${n}`));
        line.ws.close();
    }
});

// ── The stock clients ───────────────────────────────────────────────────────────────────────────

function exchange(name, connect, transports, upgrades, forceBase64 = false) {
    test(`${name}, ${transports}${forceBase64 ? ', binary as text' : ''}`, async () => {
        const socket = connect({ transports, upgrade: upgrades, forceBase64 });
        socket.binaryType = 'nodebuffer';
        const heard = [], count = 200;
        let upgraded = false;
        socket.on('upgrade', () => { upgraded = true; });
        await new Promise((resolve, reject) => {
            socket.on('error', reject);
            socket.on('close', (reason) => reject(new Error(reason)));
            socket.on('message', (data) => {
                heard.push(Buffer.isBuffer(data) || data instanceof ArrayBuffer ? Buffer.from(data).toString('hex') : data);
                if (heard.length === count && (!upgrades || upgraded)) resolve();
            });
            socket.on('upgrade', () => heard.length >= count && resolve());
            socket.on('open', async () => {
                for (let i = 0; i < count; i++) {
                    socket.send(i % 10 === 9 ? Buffer.from([i, 0xff]) : `message ${i} é😀`);
                    if (i % 7 === 0) await sleep(2);
                }
            });
        });
        const wanted = [...Array(count).keys()].map((i) =>
            i % 10 === 9 ? Buffer.from([i, 0xff]).toString('hex') : `message ${i} é😀`);
        assert.deepEqual(heard, wanted);
        assert.equal(upgraded, upgrades);
        socket.removeAllListeners('close');
        socket.close();
    });
}
for (const [transports, upgrades] of [[['polling'], false], [['websocket'], false], [['polling', 'websocket'], true]])
    for (const base64 of [false, true]) {
        exchange('engine.io-client 6', (options) => new Client4(`http://${host}`, options), transports, upgrades, base64);
        exchange('engine.io-client 3', (options) => new Client3(`http://${host}`, options), transports, upgrades, base64);
    }
for (const [name, Client] of [['engine.io-client 6', Client4], ['engine.io-client 3', Client3]])
    test(`${name} stays for some heartbeats`, async () => {
        const sockets = [['polling'], ['websocket']].map((transports) => new Client(`http://${host}`, { transports }));
        const gone = sockets.map((socket) => new Promise((resolve) => socket.on('close', resolve)));
        await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.on('open', resolve))));
        assert.equal(await Promise.race([...gone, sleep(3 * INTERVAL + 2 * TIMEOUT).then(() => 'still here')]), 'still here');
        sockets.forEach((socket) => socket.close());
        await Promise.all(gone);
    });

crowd('60 clients at once, numbers all through their upgrades', async () => {
    const count = 60, wanted = [...Array(count).keys()].map(String);
    const one = (Client) => new Promise((resolve, reject) => {
        const socket = new Client(`http://${host}`, { transports: ['polling', 'websocket'] });
        const heard = [];
        let upgraded = false;
        const look = () => {
            if (heard.length < count || !upgraded) return;
            socket.removeAllListeners('close');
            socket.close();
            resolve(heard);
        };
        socket.on('error', reject);
        socket.on('close', (reason) => reject(new Error(`${reason} after ${heard.length}`)));
        socket.on('upgrade', () => { upgraded = true; look(); });
        socket.on('message', (data) => { heard.push(data); look(); });
        socket.on('open', async () => {
            for (const number of wanted) {
                socket.send(number);
                await sleep(Math.random() * 4);
            }
        });
    });
    for (const heard of await Promise.all([...Array(60).keys()].map((i) => one(i % 3 === 0 ? Client3 : Client4))))
        assert.deepEqual(heard, wanted);
});

// ── All of them, one after the other ────────────────────────────────────────────────────────────

for (const [name, run] of tests) {
    const late = sleep(20000).then(() => { throw new Error('not within its time'); });
    try {
        await Promise.race([run(), late]);
        console.log(`ok ${name}`);
    } catch (error) {
        console.log(`not ok ${name}`);
        console.log(`  # ${String(error.stack ?? error).split('\n').slice(0, 12).join('\n  # ')}`);
    }
    late.catch(() => {});
}
process.exit(0);
