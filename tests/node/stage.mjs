// What a scenario is played on: two nodes, and phones that are watched until the end.
import { setTimeout as delay } from 'node:timers/promises';
import { nextUserId } from './ids.mjs';
import { Phone } from './phone.mjs';

const OFFLINE_MS = 3000;

export class Stage {
  #phones = [];

  constructor(cluster, mode, client) {
    Object.assign(this, { mode, client });
    [this.a, this.b] = cluster.nodes;
  }

  /** A phone that is not connected yet. */
  phone(name, node, { user = nextUserId(), mode = this.mode, ...options } = {}) {
    const phone = new Phone({ name, user, node, mode, client: this.client, ...options });
    this.#phones.push(phone);
    return phone;
  }

  /** Ana on node A and Bo on node B, each on one phone. */
  pair(anasOptions, bosOptions) {
    return this.connect(this.phone('ana', this.a, anasOptions), this.phone('bo', this.b, bosOptions));
  }

  connect(...phones) {
    return Promise.all(phones.map((phone) => phone.connect()));
  }

  /** Closes the only phone of its user and returns once the cluster knows. */
  async goesOffline(phone) {
    await phone.nothingMore(0);
    phone.close();
    const deadline = Date.now() + OFFLINE_MS;
    while ((await this.b.get(`/api/users/${phone.user}/online`)).body.isOnline !== false) {
      if (Date.now() > deadline) throw new Error(`${phone} still counts as online ${OFFLINE_MS} ms after it left`);
      await delay(20);
    }
  }

  /** Closes the phone; another of the same user and device comes up, on the other node. */
  async comesBack(phone) {
    await phone.nothingMore(0);
    phone.close();
    return this.another(phone);
  }

  /** A further phone of the same user and device, on the other node. */
  another({ name, user, mode, deviceId, acks, node, client }) {
    const other = node === this.a ? this.b : this.a;
    return this.phone(`${name} again`, other, { user, mode, deviceId, acks, client }).connect({ atOnce: true });
  }

  /** Asserts that no phone heard or hears anything that the scenario did not expect. */
  async silence(within) {
    const results = await Promise.allSettled(this.#phones.map((phone) => phone.nothingMore(within)));
    const reasons = results.filter(({ status }) => status === 'rejected').map(({ reason }) => reason.message);
    if (reasons.length) throw new Error(reasons.join('\n'));
  }

  close() {
    for (const phone of this.#phones) phone.close();
  }
}
