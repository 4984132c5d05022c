// SPDX-License-Identifier: Apache-2.0
// A hostile client tries every way in, then everybody whom it spied on is told a secret: it must have heard none of it.
// Mallory has a valid token of his own, which makes him a user like any other. RSA_PUBLIC and RSA_PRIVATE are files; the
// public key is configured as `rsa`, SECRET as `default`.
import { readFileSync } from 'node:fs';
import { createHmac, createSign } from 'node:crypto';
import { assert, Client, mint, Plain, publish, request, run, Stream, unique, until } from './kit.mjs';

const victimTenant = unique('tv');
const victimRoom = unique('private');
const victim = unique('victim');
const mallory = unique('mallory');
const victimToken = mint(victim, { tenantId: victimTenant, rooms: [victimRoom], projects: ['theirs'] });
const malloryToken = mint(mallory, { tenantId: 'tm', rooms: ['his-own'] });

// ── tokens that must not pass ──

const part = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const soon = Math.floor(Date.now() / 1000) + 3600;
const claims = { sub: victim, tenantId: victimTenant, exp: soon, rooms: [victimRoom] };
const hmac = (text, key, hash = 'sha256') => createHmac(hash, key).update(text).digest('base64url');

function token(header, body = claims, key = process.env.SECRET, hash = 'sha256') {
  const text = `${part(header)}.${part(body)}`;
  return `${text}.${hmac(text, key, hash)}`;
}

const publicKey = readFileSync(process.env.RSA_PUBLIC);
const valid = victimToken.split('.');
const forged = {
  'no token': '',
  'no JWT at all': 'nonsense',
  'three empty parts': '..',
  'expired': mint(victim, { ...claims, exp: soon - 7300 }),
  'not valid yet': mint(victim, { ...claims, nbf: soon }),
  'exp that is no number': mint(victim, { ...claims, exp: 'never' }),
  'another secret': mint(victim, claims, { secret: 'guess' }),
  'an empty key': token({ alg: 'HS256', typ: 'JWT' }, claims, ''),
  'a key of one zero byte': token({ alg: 'HS256', typ: 'JWT' }, claims, '\0'),
  'none, no signature': `${part({ alg: 'none', typ: 'JWT' })}.${part(claims)}.`,
  'none, two parts': `${part({ alg: 'none' })}.${part(claims)}`,
  'None': `${part({ alg: 'None' })}.${part(claims)}.`,
  'nOnE with a signature': token({ alg: 'nOnE' }),
  'no alg': token({ typ: 'JWT' }),
  'alg null': token({ alg: null }),
  'alg an array': token({ alg: ['HS256'] }),
  'alg twice': token('{"alg":"none","alg":"HS256"}'),
  'HS256 with the public RSA key': token({ alg: 'HS256', kid: 'rsa' }, claims, publicKey),
  'HS256 with the public RSA key, no kid': token({ alg: 'HS256' }, claims, publicKey),
  'RS256 said, the secret used': token({ alg: 'RS256', kid: 'rsa' }),
  'RS256 said, the default key named': token({ alg: 'RS256', kid: 'default' }),
  'HS512 where the key is for HS256': token({ alg: 'HS512' }, claims, process.env.SECRET, 'sha512'),
  'an unknown kid': token({ alg: 'HS256', kid: 'unknown' }),
  'a kid that is a path': token({ alg: 'HS256', kid: '../../../dev/null' }, claims, ''),
  'a kid that is SQL': token({ alg: 'HS256', kid: "' union select 'x" }, claims, 'x'),
  'its own key in the header': token({ alg: 'HS256', jwk: { kty: 'oct', k: part('mine') } }, claims, 'mine'),
  'crit that nobody knows': token({ alg: 'HS256', crit: ['b64'], b64: false }),
  'a valid signature under other claims': `${valid[0]}.${part({ ...claims, sub: 'root' })}.${valid[2]}`,
  'a signature that is cut': victimToken.slice(0, -1),
  'a signature with more behind it': `${victimToken}AAAA`,
  'a signature with a changed bit': victimToken.slice(0, -4) + (victimToken.at(-4) === 'A' ? 'B' : 'A') + victimToken.slice(-3),
  'a fourth part': `${victimToken}.AAAA`,
  'white space around it': ` ${victimToken} x`,
};

// ── rooms that he may not enter ──

const names = [
  `user:${victim}`, `user_${victim}`, `tenant:${victimTenant}`, `project:theirs`, victimRoom, '*', 'all', 'everyone',
  ` user:${victim}`, `user:${victim} `, `user:${victim}\u0000`, `USER:${victim}`, `user: ${victim}`, `user::${victim}`,
  `user:${mallory},user:${victim}`, `user:${mallory} user:${victim}`, `user:${mallory}\nuser:${victim}`,
  `his-own,${victimRoom}`, `his-own\u0000${victimRoom}`, `his-own/../${victimRoom}`, `user:${mallory}/../${victim}`,
  `user%3A${victim}`, `user\uff1a${victim}`, `tenant:tm,tenant:${victimTenant}`, 'project:mine', '/', '', ':', 'user:',
  'tenant:', 'x'.repeat(5000),
];
const oddities = [null, 1, true, [], {}, ['user:' + victim], { $ne: 1 }, { roomId: victimRoom }];

// Tells the victim a secret in every room, and then Mallory something harmless: behind it nothing can still come.
async function nothingHeard(clients) {
  const secret = unique('secret');
  const rooms = [{ user: victim }, { tenant: victimTenant }, { room: victimRoom }, { project: 'theirs' }];
  const honest = await Client.open(victimToken);
  await honest.join(victimRoom);
  honest.emit('join-project', { projectId: 'theirs' });
  await honest.next('joined-project');
  for (const to of rooms) await publish(to, 'secret', { secret, to });
  for (const to of rooms) await honest.next('secret', (d) => JSON.stringify(d.to) === JSON.stringify(to));
  for (const client of clients) {
    if (client instanceof Client && client.socket.connected) {
      const fence = unique('fence');
      await publish({ user: mallory }, 'fence', fence);
      await client.next('fence', (d) => d === fence);
      await client.ask('leave_room', { roomId: 'nowhere' });
    }
    assert.ok(!JSON.stringify(client.all).includes(secret), JSON.stringify(client.all.slice(-3)));
  }
}

const asMallory = (options) => Client.open(malloryToken, options);

await run({
  async 'forged tokens by Socket.IO: connect_error'() {
    const nobody = { 'a token that names no user': mint(undefined, { tenantId: victimTenant }) };
    for (const [how, bad] of Object.entries({ ...forged, ...nobody })) {
      const client = new Client(undefined, { auth: { token: bad } });
      await until(how, () => client.all.length > 0);
      assert.equal(client.all[0].name, 'connect_error', how);
      assert.match(client.all[0].data, /^Unauthorized: /, how);
      assert.ok(!bad || !client.all[0].data.includes(bad), how);
      client.close();
    }
  },

  async 'forged tokens at the other doors: 401'() {
    for (const [how, bad] of Object.entries(forged)) {
      for (const path of ['/ws/live', '/ws/stats']) {
        const plain = new Plain(`${path}?room=${victimRoom}&token=${encodeURIComponent(bad)}`);
        await until(how, () => plain.all.length > 0);
        assert.deepEqual(plain.all[0], { name: 'refused', data: 401 }, `${path}: ${how}`);
      }
      for (const path of [`/sse?room=${victimRoom}&`, '/messages?']) {
        const { status } = await request('GET', `${path}token=${encodeURIComponent(bad)}`);
        assert.equal(status, 401, `${path}: ${how}`);
      }
    }
  },

  async 'a token that is right, in all its forms, passes: the others were not refused for something else'() {
    const sign = createSign('RSA-SHA256');
    const text = `${part({ alg: 'RS256', kid: 'rsa' })}.${part(claims)}`;
    const rsa = `${text}.${sign.update(text).sign(readFileSync(process.env.RSA_PRIVATE)).toString('base64url')}`;
    for (const good of [victimToken, token({ alg: 'HS256' }), token({ alg: 'HS256', kid: 'default' }), rsa]) {
      const client = await Client.open(good);
      assert.equal(client.greeting.userId, victim);
      client.close();
    }
  },

  async 'rooms of others by join_room'() {
    const client = await asMallory();
    for (const roomId of names) client.emit('join_room', { roomId });
    for (const roomId of oddities) client.emit('join_room', { roomId });
    for (const data of oddities) client.emit('join_room', data);
    await client.ask('leave_room', { roomId: 'nowhere' });
    assert.equal(client.count('joined_room'), 0, JSON.stringify(client.all.filter((h) => h.name === 'joined_room')));
    await nothingHeard([client]);
  },

  async 'the victim\'s connection as a room'() {
    const honest = await Client.open(victimToken);
    const client = await asMallory();
    for (const roomId of [honest.socket.id, honest.greeting.connectionId]) client.emit('join_room', { roomId });
    await client.ask('leave_room', { roomId: 'nowhere' });
    assert.equal(client.count('joined_room'), 0);
    await nothingHeard([client]);
  },

  async 'rooms of others by /ws/live and /sse'() {
    const client = await asMallory();
    const listeners = [];
    for (const room of names.filter((n) => n.length < 200)) {
      for (const query of [`room=${encodeURIComponent(room)}`, `room=his-own&room=${encodeURIComponent(room)}`]) {
        const plain = new Plain(`/ws/live?${query}&token=${malloryToken}`);
        await until(room, () => plain.all.length > 0);
        listeners.push(plain);
        const stream = new Stream(`/sse?${query}&token=${malloryToken}`);
        await until(room, () => stream.all.length > 0);
        if (stream.count('error')) stream.close();
        listeners.push(stream);
      }
    }
    await nothingHeard([...listeners, client]);
  },

  async 'projects of others, also with a token in the message'() {
    const client = await asMallory();
    const tokens = [undefined, '', 'nonsense', forged['none, no signature'], forged['another secret'], forged.expired];
    for (const bad of tokens) {
      client.emit('join-project', { projectId: 'theirs', token: bad, userId: 'owner-2', projects: ['theirs'] });
      assert.equal((await client.next('error')).code, 'UNAUTHORIZED', `${bad}`);
    }
    for (const projectId of ["theirs' or '1'='1", 'theirs\u0000', ' theirs', 'theirs,mine', 'x:theirs', '%', 'THEIRS']) {
      client.emit('join-project', { projectId });
      await client.next('error');
    }
    for (const projectId of oddities) client.emit('join-project', { projectId });
    await client.ask('leave_room', { roomId: 'nowhere' });
    assert.equal(client.count('joined-project'), 0);
    await nothingHeard([client]);
  },

  async 'a claim in a message or in the handshake is not one'() {
    const client = await Client.open(undefined, {
      auth: { token: malloryToken, userId: victim, tenantId: victimTenant, rooms: [victimRoom], scope: 'admin' },
      query: { userId: victim, tenantId: victimTenant, room: victimRoom },
    });
    assert.equal(client.greeting.userId, mallory);
    await nothingHeard([client]);
  },

  async 'a second namespace needs the token again'() {
    const client = await asMallory();
    const second = client.socket.io.socket('/ws', { auth: {} });
    const message = await new Promise((resolve, reject) => {
      second.on('connect_error', (error) => resolve(error.message));
      second.on('connect', () => reject(new Error('it is connected')));
      second.connect();
    });
    assert.match(message, /^Unauthorized: /);
  },

  async 'nobody speaks as another, or where he may not'() {
    const honest = await Client.open(victimToken);
    await honest.join(victimRoom);
    const client = await asMallory();
    const lies = [
      { type: 'send_message', data: { roomId: victimRoom, message: 'lie' } },
      { type: 'send_message', data: { roomId: `user:${victim}`, message: 'lie' } },
      { type: 'typing_start', data: { roomId: victimRoom } },
      { type: 'typing_start', data: { roomId: `tenant:${victimTenant}` } },
      { type: 'notification', userId: victim, data: { title: 'lie' } },
      { type: 'notification', tenantId: victimTenant, data: { title: 'lie' } },
      { type: 'user_status', tenantId: victimTenant, data: { status: 'lie' } },
      { type: 'broadcast', data: { type: 'lie', data: 1 } },
      { type: 'anything', userId: victim, data: { lie: 1 } },
      { type: 'session_start', projectId: 'theirs', sessionId: 'lie', data: {} },
      // One room is shown to who judges, another to who tells.
      ...['send_message', 'typing_start'].flatMap((type) => [
        { type, roomId: 'his-own', room_id: victimRoom, data: { message: 'lie' } },
        { type, roomId: 'his-own', room_id: null, data: { roomId: victimRoom, message: 'lie' } },
        { type, roomId: 'his-own', data: { roomId: 'his-own' }, metadata: { roomId: victimRoom, message: 'lie' } },
        { type, metadata: { roomId: victimRoom, message: 'lie' } },
        { type, payload: { roomId: victimRoom, message: 'lie' } },
        { type: 'cart_event', roomId: 'his-own', data: { eventType: type, roomId: victimRoom, data: { message: 'lie' } } },
        { type: 'cart_event', data: { eventType: type, room_id: victimRoom, data: { message: 'lie' } } },
        { type: 'cart_event', data: { eventType: type, data: { roomId: victimRoom, message: 'lie' } } },
      ]),
    ];
    for (const lie of lies) client.emit('message', lie);
    await client.ask('leave_room', { roomId: 'nowhere' });
    for (const event of lies.slice(4, 9)) {
      await request('POST', '/events', { token: malloryToken, body: [event] });
    }
    for (const to of [{ user: victim }, { room: victimRoom }, 'all']) {
      const { status } = await request('POST', '/api/publish', { token: malloryToken, body: { to, event: 'lie', data: 'lie' } });
      assert.equal(status, 403);
    }
    await publish({ room: victimRoom }, 'truth', 1);
    await honest.next('truth');
    await publish({ user: victim }, 'truth', 2);
    await honest.next('truth');
    assert.ok(!JSON.stringify(honest.all).includes('lie'), JSON.stringify(honest.all));
    assert.equal(honest.count('user_typing'), 0, JSON.stringify(honest.all));
  },

  async 'the numbers of /ws/stats are nobody else\'s to publish'() {
    const reader = await Plain.open(`/ws/stats?token=${malloryToken}`);
    const client = await Client.open(mint(mallory, { tenantId: 'tm' })); // any plain room is open to this one
    const room = 'stats:ws';
    for (const type of ['send_message', 'typing_start']) client.emit('message', { type, roomId: room, data: {} });
    client.emit('join_room', { roomId: room });
    await client.ask('leave_room', { roomId: 'nowhere' });
    assert.equal(client.count('joined_room'), 0);
    const { status } = await request('POST', '/api/publish',
      { token: mint(mallory, { scope: 'publish' }), body: { to: { room }, event: 'lie', data: {} } });
    assert.equal(status, 400);
    for (let i = 0; i < 3; i += 1) await reader.next('message');
    assert.ok(reader.all.every(({ name, data }) => name !== 'message' || 'total_messages' in data), JSON.stringify(reader.all));
  },

  async 'an operator\'s questions are for operators'() {
    const honest = await Client.open(victimToken);
    for (const [method, path] of [['GET', '/api/connections'], ['GET', `/api/rooms/${victimRoom}/users`],
      ['GET', '/api/projects/theirs/users'], ['DELETE', `/api/connections/${honest.greeting.connectionId}`]]) {
      assert.equal((await request(method, path, { token: malloryToken })).status, 403, path);
      assert.equal((await request(method, path)).status, 401, path);
    }
    assert.ok(honest.socket.connected);
  },

  async 'a session is not found by its neighbour\'s name'() {
    const honest = await Client.open(victimToken);
    const sid = honest.socket.io.engine.id;
    for (const guess of [sid.slice(0, -1) + (sid.endsWith('A') ? 'B' : 'A'), sid.slice(1), '', '../' + sid, sid + 'A']) {
      const { status, body } = await request('GET', `/socket.io/?EIO=4&transport=polling&sid=${encodeURIComponent(guess)}`);
      assert.ok(guess === '' || (status === 400 && body.code === 1), `${guess}: ${status} ${JSON.stringify(body)}`);
    }
    assert.ok(honest.socket.connected);
  },

  async 'a connection whose token expires is told, and closed'() {
    const client = await Client.open(mint(mallory, { exp: Math.floor(Date.now() / 1000) + 2 }));
    await client.next('disconnect');
    assert.ok(client.count('error') + client.count('token_expired') + client.count('expired') > 0,
      JSON.stringify(client.all));
  },
});
