// SPDX-License-Identifier: Apache-2.0
// The gateway blueprint [002]: namespace /ws, rooms, chat, typing, notifications, presence of a tenant, the rate limit.
import { assert, Client, keysOf, mint, Plain, produce, publish, request, run, Stream, unique, until } from './kit.mjs';

const tenantId = unique('tenant');
const connect = (user, claims = {}, options = {}) =>
  Client.open(mint(user, { email: `${user}@example.com`, tenantId, ...claims }), { namespace: '/ws', ...options });

// Two people in a room that nobody else knows.
async function pair() {
  const room = unique('room');
  const [alice, bob] = [await connect(unique('alice')), await connect(unique('bob'))];
  await alice.join(room);
  await bob.join(room);
  return { room, alice, bob };
}

await run({
  async 'connect: greeted with connected'() {
    const client = await connect('test-user');
    assert.deepEqual(keysOf(client.greeting), ['connectionId', 'message', 'userId']);
    assert.equal(client.greeting.message, 'Connected to WebSocket server');
    assert.equal(client.greeting.userId, 'test-user');
    assert.ok(client.greeting.connectionId.length > 0);
  },

  async 'the token may come as auth.token, as a header, as the query'() {
    const token = mint('anyhow', { tenantId });
    for (const options of [{ auth: { token } }, { query: { token } }, { extraHeaders: { authorization: `Bearer ${token}` } }]) {
      const client = await Client.open(undefined, { namespace: '/ws', ...options });
      assert.equal(client.greeting.userId, 'anyhow');
    }
  },

  async 'namespace / serves the same'() {
    const client = await Client.open(mint('root-user', { tenantId }));
    assert.equal(client.greeting.userId, 'root-user');
    await client.join(unique('room'));
  },

  async 'an unknown namespace is refused'() {
    const client = new Client(mint('lost'), { namespace: '/nowhere' });
    assert.equal(await client.next('connect_error'), 'Invalid namespace');
  },

  async 'join_room and leave_room: answered by event and by acknowledgement, twice is harmless'() {
    const client = await connect(unique('u'));
    const roomId = unique('room');
    await client.join(roomId);
    await client.ask('join_room', { roomId });
    client.emit('leave_room', { roomId });
    assert.deepEqual(await client.next('left_room'), { roomId });
    await client.ask('leave_room', { roomId });
  },

  async 'send_message reaches the room as chat_message, in order, the sender too'() {
    const { room, alice, bob } = await pair();
    for (let i = 0; i < 20; i += 1) alice.say('send_message', { roomId: room, message: `hello ${i}` });
    for (const who of [alice, bob]) {
      for (let i = 0; i < 20; i += 1) {
        const message = await who.next('chat_message');
        assert.deepEqual(keysOf(message), ['id', 'message', 'roomId', 'timestamp', 'userId', 'userName']);
        assert.deepEqual([message.roomId, message.userId, message.message],
          [room, alice.greeting.userId, `hello ${i}`]);
        assert.ok(!Number.isNaN(Date.parse(message.timestamp)));
      }
    }
  },

  async 'any text arrives as it was'() {
    const { room, alice, bob } = await pair();
    const texts = ['', '"quoted" \\ back', 'né à 東京 🎉', ' ', '\u2028', '{"a":1}', '42["x"]', 'x'.repeat(20000)];
    for (const message of texts) alice.say('send_message', { roomId: room, message });
    for (const message of texts) assert.equal((await bob.next('chat_message')).message, message);
  },

  async 'typing_start and typing_stop'() {
    const { room, alice, bob } = await pair();
    alice.say('typing_start', { roomId: room });
    alice.say('typing_stop', { roomId: room });
    const userId = alice.greeting.userId;
    assert.deepEqual(await bob.next('user_typing'), { userId, roomId: room, typing: true });
    assert.deepEqual(await bob.next('user_typing'), { userId, roomId: room, typing: false });
  },

  async 'who has left a room hears it no more'() {
    const { room, alice, bob } = await pair();
    await bob.ask('leave_room', { roomId: room });
    alice.say('send_message', { roomId: room, message: 'gone?' });
    await alice.next('chat_message');
    await publish({ user: bob.greeting.userId }, 'fence', 1);
    await bob.next('fence');
    assert.equal(bob.count('chat_message'), 0);
  },

  async 'a room that the token does not list is denied'() {
    const client = await connect(unique('u'), { rooms: ['mine'] });
    await client.join('mine');
    client.emit('join_room', { roomId: 'another' });
    const error = await client.next('error');
    assert.deepEqual(keysOf(error), ['code', 'message', 'timestamp', 'type']);
    assert.deepEqual([error.type, error.message, error.code], ['error', 'Access denied to room', 'UNAUTHORIZED']);
  },

  async 'notification to a user: all his connections, nobody else'() {
    const user = unique('u');
    const [first, second, other] = [await connect(user), await connect(user), await connect(unique('u'))];
    const note = { id: 'n-1', title: 'T', message: 'M', type: 'info', timestamp: new Date().toISOString() };
    await produce([{ type: 'notification', userId: user, data: note }]);
    for (const client of [first, second]) {
      const heard = await client.next('notification');
      assert.deepEqual(keysOf(heard), ['id', 'message', 'timestamp', 'title', 'type']);
      assert.deepEqual([heard.id, heard.title, heard.message, heard.type], ['n-1', 'T', 'M', 'info']);
    }
    await publish({ user: other.greeting.userId }, 'fence', 1);
    await other.next('fence');
    assert.equal(other.count('notification'), 0);
  },

  async 'notification to a tenant'() {
    const [one, other] = [await connect(unique('u')), await connect(unique('u'))];
    // From a producer who is nobody in particular: else it is his user's.
    await produce([{ type: 'notification', data: { id: 'n-2', title: 'T', message: 'M', type: 'warning' } }],
      mint(undefined, { tenantId, scope: 'ingest' }));
    for (const client of [one, other]) assert.equal((await client.next('notification')).id, 'n-2');
  },

  async 'mark_notification_read is confirmed to the user'() {
    const user = unique('u');
    const [first, second] = [await connect(user), await connect(user)];
    first.say('mark_notification_read', { notificationId: 'n-3' });
    for (const client of [first, second]) {
      assert.deepEqual(await client.next('notification_read'), { notificationId: 'n-3' });
    }
  },

  async 'user_status goes to the tenant'() {
    const { alice, bob } = await pair();
    alice.say('user_status', { status: 'away' });
    const heard = await bob.next('user_status');
    assert.deepEqual(keysOf(heard), ['status', 'timestamp', 'userId']);
    assert.deepEqual([heard.userId, heard.status], [alice.greeting.userId, 'away']);
  },

  async 'broadcast reaches everyone, from whoever may'() {
    const { alice, bob } = await pair();
    alice.say('broadcast', { type: 'maintenance', data: { at: 'noon' } });
    assert.equal((await alice.next('error')).code, 'FORBIDDEN');
    const admin = await connect(unique('admin'), { scope: 'publish:all', tenantId: unique('other') });
    admin.say('broadcast', { type: 'maintenance', data: { at: 'night' } });
    for (const client of [alice, bob, admin]) {
      assert.deepEqual(await client.next('broadcast'), { type: 'maintenance', data: { at: 'night' } });
    }
  },

  async 'the 61st message of a minute is refused, and the connection stays'() {
    const client = await connect(unique('hasty'));
    for (let i = 0; i < 65; i += 1) client.say('test', { i });
    const error = await client.next('error');
    assert.deepEqual(keysOf(error), ['code', 'message', 'timestamp', 'type']);
    assert.deepEqual([error.type, error.message, error.code], ['error', 'Rate limit exceeded', 'RATE_LIMITED']);
    await client.join(unique('room'));
    await until('five refusals', () => client.count('error') === 5);
  },

  async 'publish to a user, a tenant, a room, everyone: sendToUser and its kin'() {
    const { room, alice, bob } = await pair();
    await publish({ user: alice.greeting.userId }, 'to_user', { n: 1 });
    assert.deepEqual(await alice.next('to_user'), { n: 1 });
    await publish({ tenant: tenantId }, 'to_tenant', [2]);
    await publish({ room }, 'to_room', 'three');
    await publish('all', 'to_all', null);
    for (const client of [alice, bob]) {
      assert.deepEqual(await client.next('to_tenant'), [2]);
      assert.equal(await client.next('to_room'), 'three');
      assert.equal(await client.next('to_all'), null);
    }
    assert.equal(bob.count('to_user'), 0);
    const { status } = await request('POST', '/api/publish',
      { token: mint('nobody', { tenantId }), body: { to: 'all', event: 'x', data: 1 } });
    assert.equal(status, 403);
  },

  async 'who is there: a room\'s users, connections, and one that is ended'() {
    const { room, alice, bob } = await pair();
    const token = mint('operator', { scope: 'admin' });
    const users = await request('GET', `/api/rooms/${room}/users`, { token });
    assert.equal(users.status, 200);
    for (const client of [alice, bob]) assert.ok(JSON.stringify(users.body).includes(client.greeting.userId));
    assert.equal((await request('GET', '/api/connections', { token })).status, 200);
    assert.equal((await request('GET', '/api/connections', { token: mint('u') })).status, 403);
    const { status } = await request('DELETE', `/api/connections/${alice.greeting.connectionId}`, { token });
    assert.ok(status >= 200 && status < 300, `${status}`);
    await alice.next('disconnect');
    assert.ok(bob.socket.connected);
  },

  async 'the same room by plain WebSocket and by EventSource'() {
    const { room, alice } = await pair();
    const query = `room=${room}&token=${mint('viewer', { tenantId })}`;
    const plain = await Plain.open(`/ws/live?${query}`);
    const stream = await Stream.open(`/sse?${query}`);
    const typed = await Plain.open(`/ws/live?${query}&types=user_typing`);
    alice.say('send_message', { roomId: room, message: 'everywhere' });
    alice.say('typing_start', { roomId: room });
    for (const viewer of [plain, stream]) {
      const heard = await viewer.next('message', (m) => m.event === 'chat_message');
      assert.deepEqual([heard.room, heard.data.message], [room, 'everywhere']);
      await viewer.next('message', (m) => m.event === 'user_typing');
    }
    assert.equal((await typed.next('message')).event, 'user_typing');
    for (let i = 0; i < 30; i += 1) alice.say('send_message', { roomId: room, message: `quickly ${i}` });
    for (let i = 0; i < 30; i += 1) {
      for (const viewer of [plain, stream]) {
        assert.equal((await viewer.next('message', (m) => m.event === 'chat_message')).data.message, `quickly ${i}`);
      }
    }
  },

  async 'an EventSource that was away gets what it missed'() {
    const { room, alice } = await pair();
    const token = mint('viewer', { tenantId });
    const url = `/sse?room=${room}&token=${token}`;
    const stream = await Stream.open(url);
    alice.say('send_message', { roomId: room, message: 'one' });
    const { id } = await stream.next('message');
    assert.ok(id, 'it has no id');
    stream.close();
    alice.say('send_message', { roomId: room, message: 'two' });
    await alice.next('chat_message', (m) => m.message === 'two');
    // As an EventSource asks when it comes back by itself.
    const response = await fetch(`http://${process.env.HTTP}${url}`, { headers: { 'last-event-id': id } });
    let text = '';
    for await (const chunk of response.body) {
      text += Buffer.from(chunk).toString();
      if (text.includes('two')) break;
    }
    assert.ok(!text.includes('"one"'), text);
  },

  async 'it comes back by itself after the connection was cut'() {
    const client = await connect(unique('u'), {}, { reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 100 });
    const room = unique('room');
    await client.join(room);
    client.socket.io.engine.close();
    await client.next('disconnect');
    await until('connected again', () => client.socket.connected);
    await client.join(room);
  },

  async 'binary goes through a room and comes out as bytes'() {
    const client = await connect(unique('u'));
    const answer = await client.ask('join_room', { roomId: unique('room'), blob: Buffer.from([1, 2, 3]) });
    assert.ok(answer !== undefined);
    assert.ok(client.socket.connected);
  },
});
