// SPDX-License-Identifier: Apache-2.0
// The cart stream [004]: events by WebSocket, each acknowledged.
import { assert, mint, Plain, run, unique } from './kit.mjs';

const connect = async () => {
  const plain = await Plain.open('/events/stream', { headers: { authorization: `Bearer ${mint('shop', { scope: 'ingest ingest:any' })}` } });
  const greeting = await plain.next('message');
  assert.equal(greeting.type, 'connected');
  assert.ok(greeting.connectionId && greeting.message && greeting.timestamp);
  return plain;
};

const cart = (eventType, userId, metadata, eventId = unique('c')) => (
  { type: 'cart_event', data: { eventId, eventType, userId, metadata, timestamp: new Date().toISOString() } });

await run({
  async 'accepted, one after the other'() {
    const plain = await connect();
    for (const event of [cart('item_added', 'ws-test-user-123', { productId: 'premium-subscription' }),
      cart('checkout_started', 'ws-test-user-456', { cartValue: 59.98, itemCount: 2 })]) {
      plain.send(event);
      const answer = await plain.next('message');
      assert.deepEqual([answer.type, answer.eventId, answer.status], ['ack', event.data.eventId, 'accepted']);
      assert.ok(!Number.isNaN(Date.parse(answer.timestamp)));
    }
  },

  async 'a duplicate is acknowledged as one'() {
    const plain = await connect();
    const event = cart('item_removed', 'u', {});
    plain.send(event);
    assert.equal((await plain.next('message')).status, 'accepted');
    plain.send(event);
    const answer = await plain.next('message');
    assert.deepEqual([answer.type, answer.eventId, answer.status], ['ack', event.data.eventId, 'duplicate']);
  },

  async 'an unsupported type is answered, and the stream goes on'() {
    const plain = await connect();
    for (const bad of [{ type: 'unsupported', data: {} }, cart('item_stolen', 'u', {})]) {
      plain.send(bad);
      const answer = await plain.next('message');
      assert.deepEqual([answer.type, answer.code], ['error', 'UNSUPPORTED_TYPE']);
      assert.ok(answer.message.length > 0);
    }
    plain.send(cart('cart_viewed', 'u', {}));
    assert.equal((await plain.next('message')).status, 'accepted');
  },

  async 'every kind of cart event is taken'() {
    const plain = await connect();
    const kinds = ['item_added', 'item_removed', 'item_updated', 'cart_viewed', 'cart_cleared', 'coupon_applied',
      'checkout_started', 'checkout_completed', 'cart_abandoned'];
    for (const kind of kinds) plain.send(cart(kind, 'u', { kind }));
    for (const kind of kinds) assert.equal((await plain.next('message')).status, 'accepted', kind);
  },
});
