// SPDX-License-Identifier: Apache-2.0
// The dashboard of event analytics [000]: a user's own room, without joining anything, with `events` and `dashboard_data`.
import { assert, Client, keysOf, mint, produce, run, unique, until } from './kit.mjs';

// Its front-end gives the token as a header.
const connect = (user) =>
  Client.open(undefined, { extraHeaders: { authorization: `Bearer ${mint(user, { tenantId: 't-000' })}` } });

const event = (userId, type, id = unique('e')) => ({ id, type, userId, data: { plan: 'pro' } });

async function collected(client, count) {
  const all = [];
  while (all.length < count) all.push(...(await client.next('events')));
  return all;
}

await run({
  async 'a user gets his events as arrays, once and in order'() {
    const user = unique('u');
    const client = await connect(user);
    assert.equal(client.greeting.userId, user);
    const sent = Array.from({ length: 30 }, (_, i) => event(user, `step_${i}`));
    await produce(sent.slice(0, 20));
    await produce(sent.slice(20));
    const heard = await collected(client, 30);
    assert.deepEqual(heard.map((e) => e.id), sent.map((e) => e.id));
    assert.deepEqual([heard[3].type, heard[3].userId, heard[3].data], ['step_3', user, { plan: 'pro' }]);
    assert.ok(!Number.isNaN(Date.parse(heard[0].timestamp)), heard[0].timestamp);
  },

  async 'batches: many events at once are few messages'() {
    const user = unique('u');
    const client = await connect(user);
    await produce(Array.from({ length: 200 }, () => event(user, 'click')));
    assert.equal((await collected(client, 200)).length, 200);
    assert.ok(client.count('events') <= 20, `${client.count('events')} messages`);
  },

  async 'dashboard_data from the first event on, with the contract\'s members'() {
    const user = unique('u');
    const client = await connect(user);
    await client.ask('leave_room', { roomId: 'nowhere' });
    assert.equal(client.count('dashboard_data'), 0);
    await produce([event(user, 'a'), event(user, 'a'), event(user, 'b')]);
    const data = await client.next('dashboard_data', (d) => d.totalEvents === 3);
    assert.deepEqual(keysOf(data), ['activeSessions', 'byType', 'eventsPerSecond', 'lastEventAt', 'series', 'timestamp',
      'totalEvents', 'userId', 'windowSeconds']);
    assert.deepEqual([data.userId, data.byType], [user, { a: 2, b: 1 }]);
    assert.deepEqual(keysOf(data.series[0]), ['count', 't']);
    await client.next('dashboard_data'); // and again, every interval
  },

  async 'a duplicate is not told twice'() {
    const user = unique('u');
    const client = await connect(user);
    const one = event(user, 'once');
    await produce([one]);
    await produce([one, event(user, 'last')]);
    const heard = await collected(client, 2);
    assert.deepEqual(heard.map((e) => e.type), ['once', 'last']);
  },

  async 'another user hears his own only'() {
    const [one, other] = [unique('u'), unique('u')];
    const [first, second] = [await connect(one), await connect(other)];
    await produce([event(one, 'mine')]);
    await collected(first, 1);
    await produce([event(other, 'his')]);
    await until('his', () => second.count('events') > 0);
    const heard = second.all.filter((h) => h.name === 'events').flatMap((h) => h.data);
    assert.deepEqual(heard.map((e) => e.userId), [other]);
  },
});
