// SPDX-License-Identifier: Apache-2.0
// Live preview of tracking sessions [003]: projects, who may join them, and what is told of a session. The table
// `projects` has `mine` and `mine-too` (of owner-1), `theirs` (of owner-2) and `asleep` (of owner-1, not active).
import { assert, Client, keysOf, mint, produce, request, run, unique } from './kit.mjs';

const owner = () => Client.open(mint('owner-1', { tenantId: 't-003' }));

async function join(client, projectId, token = mint('owner-1', { tenantId: 't-003' })) {
  client.emit('join-project', { projectId, token });
  assert.deepEqual(await client.next('joined-project'), { projectId });
}

async function refused(client, name, data, code) {
  client.emit(name, data);
  const error = await client.next('error');
  assert.equal(error.code, code);
  assert.equal(typeof error.message, 'string');
}

const started = (projectId, sessionId) => ({ type: 'session_start', projectId, sessionId, externalUserId: 'ext-1' });
const ended = (projectId, sessionId) => (
  { type: 'session_end', projectId, sessionId, externalUserId: 'ext-1', data: { submitted: true } });
const key = (projectId, sessionId, i = 0) => (
  { id: unique('k'), type: 'keydown', projectId, sessionId, externalUserId: 'ext-1', data: { keyChar: 'a', i } });

await run({
  async 'no token, a bad one, an expired one: connect_error says Unauthorized and why'() {
    const tokens = [undefined, 'nonsense', mint('owner-1', {}, { secret: 'another' }), mint('owner-1', { exp: 1000 })];
    for (const token of tokens) {
      const message = await new Client(token).next('connect_error');
      assert.match(message, /^Unauthorized: ./);
    }
  },

  async 'join-project and leave-project of one\'s own, with acknowledgements too'() {
    const client = await owner();
    await join(client, 'mine');
    await client.ask('join-project', { projectId: 'mine' });
    client.emit('leave-project', { projectId: 'mine' });
    assert.deepEqual(await client.next('left-project'), { projectId: 'mine' });
  },

  async 'every error has its code'() {
    const client = await owner();
    await refused(client, 'join-project', {}, 'MISSING_PROJECT_ID');
    await refused(client, 'join-project', { projectId: '' }, 'MISSING_PROJECT_ID');
    await refused(client, 'join-project', undefined, 'MISSING_PROJECT_ID');
    await refused(client, 'join-project', { projectId: 'theirs' }, 'UNAUTHORIZED');
    await refused(client, 'join-project', { projectId: 'nowhere' }, 'PROJECT_NOT_FOUND');
    await refused(client, 'join-project', { projectId: 'asleep' }, 'PROJECT_INACTIVE');
    await refused(client, 'join-project', { projectId: 'x'.repeat(200) }, 'JOIN_FAILED');
    await refused(client, 'join-project', { projectId: { id: 'mine' } }, 'JOIN_FAILED');
    await refused(client, 'leave-project', {}, 'MISSING_PROJECT_ID');
    await refused(client, 'leave-project', { projectId: ['mine'] }, 'LEAVE_FAILED');
    assert.ok(client.socket.connected);
  },

  async 'a token that lists a project may join it, whoever owns it'() {
    const token = mint('guest', { projects: ['theirs'] });
    const client = await Client.open(token);
    await join(client, 'theirs', token);
  },

  async 'a session\'s life: started, events, ended'() {
    const client = await owner();
    const sessionId = unique('s');
    await join(client, 'mine');
    await produce([started('mine', sessionId)]);
    const start = await client.next('session-started', (d) => d.sessionId === sessionId);
    assert.deepEqual(keysOf(start), ['externalUserId', 'sessionId', 'timestamp']);
    assert.equal(start.externalUserId, 'ext-1');
    await produce([key('mine', sessionId, 7)]);
    const heard = await client.next('event-received', (d) => d.sessionId === sessionId && d.event.type === 'keydown');
    assert.deepEqual(keysOf(heard), ['event', 'externalUserId', 'sessionId']);
    assert.deepEqual([heard.externalUserId, heard.event.data.i], ['ext-1', 7]);
    await produce([ended('mine', sessionId)]);
    const end = await client.next('session-ended', (d) => d.sessionId === sessionId);
    assert.deepEqual(keysOf(end), ['externalUserId', 'sessionId', 'submitted', 'timestamp']);
    assert.equal(end.submitted, true);
  },

  async 'of one batch the first 10 are told'() {
    const client = await owner();
    const sessionId = unique('s');
    await join(client, 'mine');
    await produce(Array.from({ length: 25 }, (_, i) => key('mine', sessionId, i)));
    await produce([ended('mine', sessionId)]);
    await client.next('session-ended', (d) => d.sessionId === sessionId);
    const heard = client.all.filter((h) => h.name === 'event-received' && h.data.sessionId === sessionId &&
      h.data.event.type === 'keydown');
    assert.deepEqual(heard.map((h) => h.data.event.data.i), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  },

  async 'two projects do not see one another'() {
    const [one, other] = [await owner(), await owner()];
    const [first, second] = [unique('s'), unique('s')];
    await join(one, 'mine');
    await join(other, 'mine-too');
    await produce([started('mine', first)]);
    await one.next('session-started', (d) => d.sessionId === first);
    await produce([started('mine-too', second)]);
    await other.next('session-started', (d) => d.sessionId === second);
    assert.ok(!JSON.stringify(other.all).includes(first));
    assert.ok(!JSON.stringify(one.all).includes(second));
  },

  async 'who has left a project hears it no more'() {
    const client = await owner();
    const [first, second] = [unique('s'), unique('s')];
    await join(client, 'mine');
    await join(client, 'mine-too');
    await client.ask('leave-project', { projectId: 'mine' });
    await produce([started('mine', first)]);
    await produce([started('mine-too', second)]);
    await client.next('session-started', (d) => d.sessionId === second);
    assert.ok(!JSON.stringify(client.all).includes(first));
  },

  async 'who watches a project'() {
    const client = await owner();
    await join(client, 'mine');
    const { status, body } = await request('GET', '/api/projects/mine/users', { token: mint('operator', { scope: 'admin' }) });
    assert.equal(status, 200);
    assert.ok(JSON.stringify(body).includes('owner-1'));
  },
});
