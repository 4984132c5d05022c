// SPDX-License-Identifier: Apache-2.0
//
// What is shown live of what comes in, with the stock socket.io-client: every route of the contract, one
// of the configuration's own, and who must not see what.
//
//   node routes.mjs NPM HTTP TCP SECRET      prints ok and not ok lines
import { createHmac } from 'node:crypto';
import { createRequire } from 'node:module';
import net from 'node:net';
import assert from 'node:assert/strict';

const [npm, http, tcp, secret] = process.argv.slice(2);
const { io } = createRequire(npm + '/')('socket.io-client');
const base = `http://${http}`;
const PATIENCE_MS = 8000;
const open = [];

function token(claims) {
    const part = (object) => Buffer.from(JSON.stringify(object)).toString('base64url');
    const text = `${part({ alg: 'HS256', kid: 'default' })}.${part({ exp: Math.floor(Date.now() / 1000) + 3600, ...claims })}`;
    return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

// A client that writes down all that it is sent.
async function client(claims) {
    const socket = io(base, { auth: { token: token(claims) }, transports: ['websocket'], forceNew: true, reconnection: false });
    const got = [];
    socket.onAny((name, data) => got.push({ name, data }));
    open.push(socket);
    const self = {
        socket,
        got,
        named: (name) => got.filter((one) => one.name === name).map((one) => one.data),
        say: (type, data) => socket.timeout(PATIENCE_MS).emitWithAck('message', { type, data }),
        forget: () => got.splice(0, got.length),
    };
    await new Promise((resolve, reject) => {
        socket.on('connected', resolve);
        socket.on('connect_error', reject);
    });
    return self;
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

const one = (who, name) => until(`${name} comes`, () => who.named(name)[0]);

async function post(claims, body, type = 'application/json') {
    const answer = await fetch(`${base}/events`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token(claims)}`, 'content-type': type },
        body: typeof body === 'string' ? body : JSON.stringify(body),
    });
    assert.equal(answer.status, 202);
    return answer.json();
}

// What was sent before this has reached everybody when this has: one order for a room, and then the rest.
async function settle(...clients) {
    const mark = `mark-${Math.random()}`;
    await post(service, { type: 'notification', userId: 'nobody', data: { title: mark } });
    for (const who of clients) {
        await post(service, { type: 'notification', userId: who.id, data: { title: mark } });
        await until('the mark comes', () => who.named('notification').some((data) => data.title === mark));
    }
}

const service = { sub: 'service', scope: 'ingest ingest:any' };
const keys = (object) => Object.keys(object).sort().join(' ');
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$/;

let failed = 0;
async function test(name, run) {
    try {
        await run();
        console.log(`ok ${name}`);
    } catch (error) {
        failed++;
        console.log(`not ok ${name}`);
        console.log(String(error.stack || error).split('\n').slice(0, 12).map((line) => `  # ${line}`).join('\n'));
    }
}

await post(service, [1, 2, 3].map((n) => ({ type: 'before', userId: 'alice', sessionId: 's1', data: { n } })));

const alice = Object.assign(await client({ sub: 'alice', tenantId: 't1', email: 'alice@example.org' }), { id: 'alice' });
const bob = Object.assign(await client({ sub: 'bob', tenantId: 't1', projects: ['p1'] }), { id: 'bob' });
const carol = Object.assign(await client({ sub: 'carol', tenantId: 't2' }), { id: 'carol' });
const everybody = [alice, bob, carol];
const fresh = () => everybody.forEach((who) => who.forget());

await test('what came before the browser is in its dashboard_data', async () => {
    const data = await one(alice, 'dashboard_data');
    assert.equal(keys(data), keys({ userId: 0, totalEvents: 0, eventsPerSecond: 0, activeSessions: 0, byType: 0, lastEventAt: 0,
        windowSeconds: 0, series: 0, timestamp: 0 }));
    assert.equal(data.userId, 'alice');
    assert.equal(data.totalEvents, 3);
    assert.deepEqual(data.byType, { before: 3 });
    assert.equal(data.activeSessions, 1);
    assert.ok(data.eventsPerSecond > 0);
    assert.match(data.lastEventAt, ISO);
    assert.equal(data.series.length, data.windowSeconds);
    assert.equal(data.series.reduce((sum, { count }) => sum + count, 0), 3);
});

await test('send_message goes to the room, with its id, and comes back acknowledged', async () => {
    for (const who of [alice, bob]) {
        who.socket.emit('join_room', { roomId: 'lobby' });
        await one(who, 'joined_room');
    }
    fresh();
    const answer = await alice.say('send_message', { roomId: 'lobby', message: 'Grüße "an" alle\n' });
    assert.equal(answer.status, 'accepted');
    for (const who of [alice, bob]) {
        const data = await one(who, 'chat_message');
        assert.equal(keys(data), 'id message roomId timestamp userId userName');
        assert.equal(data.id, answer.id);
        assert.equal(data.roomId, 'lobby');
        assert.equal(data.userId, 'alice');
        assert.equal(data.userName, 'alice@example.org');
        assert.equal(data.message, 'Grüße "an" alle\n');
        assert.match(data.timestamp, ISO);
    }
    await settle(carol);
    assert.equal(carol.named('chat_message').length, 0);
});

await test('send_message without a room goes to the tenant', async () => {
    fresh();
    await alice.say('send_message', { message: 'to all of us' });
    assert.equal((await one(bob, 'chat_message')).roomId, null);
    await settle(carol);
    assert.equal(carol.named('chat_message').length, 0);
});

await test('typing is told and not kept', async () => {
    fresh();
    assert.equal((await alice.say('typing_start', { roomId: 'lobby' })).status, 'sent');
    assert.deepEqual(await one(bob, 'user_typing'), { userId: 'alice', roomId: 'lobby', typing: true });
    bob.forget();
    await alice.say('typing_stop', { roomId: 'lobby' });
    assert.deepEqual(await one(bob, 'user_typing'), { userId: 'alice', roomId: 'lobby', typing: false });
    await settle(alice, carol);
    assert.equal(carol.named('user_typing').length, 0);
    assert.ok(!alice.named('events').flat().some((event) => event.type.startsWith('typing')));
});

await test('typing nowhere is an error', async () => {
    assert.equal((await alice.say('typing_start', {})).code, 'INVALID_FIELD');
});

await test('mark_notification_read comes back to the user alone', async () => {
    fresh();
    await alice.say('mark_notification_read', { notificationId: 'n7' });
    assert.deepEqual(await one(alice, 'notification_read'), { notificationId: 'n7' });
    await settle(bob, carol);
    assert.equal(bob.named('notification_read').length, 0);
});

await test('a notification from another program reaches its user', async () => {
    fresh();
    await post(service, { type: 'notification', userId: 'bob',
        data: { id: 'n1', title: 'T', message: 'M', type: 'info', timestamp: '2026-01-02T03:04:05Z' } });
    assert.deepEqual(await one(bob, 'notification'),
        { id: 'n1', title: 'T', message: 'M', type: 'info', timestamp: '2026-01-02T03:04:05Z' });
    await settle(carol);
    assert.equal(alice.named('notification').length, 0);
});

await test('or the whole tenant, where it names no user', async () => {
    fresh();
    await post({ tenantId: 't1', scope: 'ingest' }, { type: 'notification', data: { title: 'to t1' } });
    for (const who of [alice, bob]) {
        const data = await one(who, 'notification');
        assert.equal(data.title, 'to t1');
        assert.equal(data.type, null);
        assert.match(data.timestamp, ISO);
        assert.match(data.id, /^[0-9a-f-]{36}$/);
    }
    await settle(carol);
    assert.ok(!carol.named('notification').some((data) => data.title === 'to t1'));
});

await test('user_status goes to the tenant', async () => {
    fresh();
    await bob.say('user_status', { status: 'away' });
    const data = await one(alice, 'user_status');
    assert.equal(keys(data), 'status timestamp userId');
    assert.equal(data.userId, 'bob');
    assert.equal(data.status, 'away');
    await settle(carol);
    assert.equal(carol.named('user_status').length, 0);
});

await test('broadcast needs its scope', async () => {
    fresh();
    assert.equal((await alice.say('broadcast', { type: 'x', data: 1 })).code, 'FORBIDDEN');
    await post({ sub: 'alice', tenantId: 't1', scope: 'ingest' }, { type: 'broadcast', data: { type: 'x', data: 1 } });
    await settle(alice, bob, carol);
    everybody.forEach((who) => assert.equal(who.named('broadcast').length, 0));
});

await test('and with it reaches everyone', async () => {
    fresh();
    await post({ sub: 'root', scope: 'ingest publish:all' }, { type: 'broadcast', data: { type: 'news', data: { a: [1, 2] } } });
    for (const who of everybody) assert.deepEqual(await one(who, 'broadcast'), { type: 'news', data: { a: [1, 2] } });
});

await test('a session of a project: started, the first ten events of a batch, ended', async () => {
    bob.socket.emit('join-project', { projectId: 'p1' });
    await one(bob, 'joined-project');
    fresh();
    const tracker = { sub: 'tracker', scope: 'ingest ingest:any' };
    const about = { projectId: 'p1', sessionId: 's9', externalUserId: 'ext-1' };
    await post(tracker, { type: 'session_start', ...about });
    const started = await one(bob, 'session-started');
    assert.equal(keys(started), 'externalUserId sessionId timestamp');
    assert.equal(started.sessionId, 's9');
    assert.equal(started.externalUserId, 'ext-1');
    await until('its event-received', () => bob.named('event-received').length === 1);
    fresh();
    const batch = Array.from({ length: 150 }, (_, n) => ({ type: 'keydown', ...about, data: { n, keyChar: 'a' } }));
    assert.equal((await post(tracker, batch)).accepted, 150);
    await post(tracker, batch.slice(0, 12).map((event) => JSON.stringify(event)).join('\n'), 'application/x-ndjson');
    await post(tracker, { type: 'session_end', ...about, data: { submitted: false } });
    const ended = await one(bob, 'session-ended');
    assert.equal(keys(ended), 'externalUserId sessionId submitted timestamp');
    assert.equal(ended.submitted, false);
    // Requests may come to different shards, and have no order among them.
    const received = await until('all of them', () => bob.named('event-received').length >= 21 && bob.named('event-received'));
    const shown = received.map(({ event }) => event.data.n ?? event.data.submitted);
    assert.deepEqual(shown.filter((n) => n !== false).sort((a, b) => a - b), Array.from({ length: 20 }, (_, n) => n >> 1));
    assert.equal(shown.filter((n) => n === false).length, 1);
    assert.equal(keys(received[0]), 'event externalUserId sessionId');
    assert.equal(received[0].event.type, 'keydown');
    await settle(alice, carol);
    [alice, carol].forEach((who) => assert.equal(who.named('event-received').length, 0));
});

await test('events: arrays, each event once and in order, over HTTP and TCP', async () => {
    fresh();
    const events = Array.from({ length: 500 }, (_, n) => ({ type: 'tick', userId: 'carol', data: { n } }));
    await post(service, events);
    const seen = await until('all of them', () => {
        const all = carol.named('events').flat().filter((event) => event.type === 'tick');
        return all.length >= 500 && all;
    });
    assert.deepEqual(seen.map((event) => event.data.n), events.map((event) => event.data.n));
    assert.equal(new Set(seen.map((event) => event.id)).size, 500);
    assert.ok(carol.named('events').length < 50);
    assert.equal(keys(seen[0]), 'data id timestamp type userId');
    const [host, port] = tcp.split(':');
    const line = net.connect(Number(port), host);
    line.end(`{"hello":{"token":"${token(service)}"}}\n{ "eventType" : "by_tcp" , "externalUserId":"carol",\t"x":{ "y" : " z " }, "ts":1700000000123}\n`);
    const [event] = await until('by_tcp', () => {
        const all = carol.named('events').flat().filter(({ type }) => type === 'by_tcp');
        return all.length > 0 && all;
    });
    assert.deepEqual(event, { id: event.id, type: 'by_tcp', userId: 'carol', timestamp: '2023-11-14T22:13:20.123Z', data: { _extra: { x: { y: ' z ' } } } });
    line.destroy();
    await settle(alice, bob);
    [alice, bob].forEach((who) => assert.ok(!who.named('events').flat().some(({ type }) => type === 'tick')));
});

await test('dashboard_data counts on, and only for its user', async () => {
    const data = await until('502 events', () => carol.named('dashboard_data').find((each) => each.totalEvents >= 501));
    assert.equal(data.byType.tick, 500);
    assert.equal(data.userId, 'carol');
    everybody.forEach((who) => who.named('dashboard_data').forEach((each) => assert.equal(each.userId, who.id)));
});

await test('a route of the configuration', async () => {
    fresh();
    const answer = await post(service, { type: 'order_placed', projectId: 'p1', id: 'o-1', data: { orderId: 17, total: 9.5, by: { name: 'x' } } });
    assert.equal(answer.accepted, 1);
    assert.deepEqual(await one(bob, 'order'), { orderId: 17, amount: 9.5, who: 'x', kind: 'order_placed', source: 'shop' });
    bob.forget();
    await post(service, { type: 'order_placed', projectId: 'p1', data: { total: 1 } });
    await until('its event-received', () => bob.named('event-received').length === 1);
    await settle(bob);
    assert.equal(bob.named('order').length, 0, 'has = data.orderId');
});

await test('a duplicate is not shown again', async () => {
    fresh();
    await post(service, { type: 'order_placed', projectId: 'p1', id: 'o-1', data: { orderId: 17 } });
    await settle(bob);
    assert.equal(bob.named('order').length, 0);
});

await test('names of rooms that lead elsewhere lead nowhere', async () => {
    fresh();
    for (const roomId of ['tenant:t2', 'user:carol', 'user_carol', 'project:p1', '*']) {
        const answer = await alice.say('send_message', { roomId, message: 'psst' });
        assert.ok(['UNAUTHORIZED', 'FORBIDDEN'].includes(answer.code), `${roomId}: ${JSON.stringify(answer)}`);
        await alice.say('typing_start', { roomId });
    }
    const plain = { sub: 'mallory' };
    for (const event of [
        { type: 'send_message', roomId: 'lobby', data: { message: 'psst' } },
        { type: 'send_message', tenantId: 't2', data: { message: 'psst' } },
        { type: 'send_message', data: { roomId: 'user:carol', message: 'psst' } },
        { type: 'notification', tenantId: 't2', data: { title: 'psst' } },
    ])
        await post(plain, event);
    await settle(...everybody);
    everybody.forEach((who) => {
        assert.equal(who.named('chat_message').length, 0);
        assert.equal(who.named('user_typing').length, 0);
        assert.ok(!who.named('notification').some((data) => data.title === 'psst'));
    });
});

await test('a message of any other type is an event like any other', async () => {
    fresh();
    const answer = await alice.say('item_added', { productId: 'p' });
    assert.equal(answer.status, 'accepted');
    const event = await until('it', () => alice.named('events').flat().find(({ type }) => type === 'item_added'));
    assert.equal(event.id, answer.id);
    assert.equal(event.userId, 'alice');
});

open.forEach((socket) => socket.disconnect());
process.exit(failed > 0 ? 1 : 0);
