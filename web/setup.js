// The set-up of the page as a link: #user=Ana&user=Bo&server=http://10.0.0.2:3001&device=tablet&acks=0&type=VIDEO
// Each `user` begins a phone, what follows is its own. Tokens are left out: a link is passed around.
const OWN = ["server", "device", "type"];
export const MOST = 6;

const of = (user, more = {}) => ({ user, token: `token-of-${user}`, server: location.origin, device: "", acks: true, type: "AUDIO", ...more });
const NAMES = ["Ana", "Bo", "Cy", "Dee", "Eli", "Fay"];

/** What a phone is at first; `at` counts from 0. */
export const usual = (at) => of(NAMES[at]);

/** The phones of a link, or none; `connect` says that they are to connect at once. */
export function read(hash) {
  const phones = [];
  let connect = false;
  for (const [name, value] of new URLSearchParams(hash.replace(/^#/, ""))) {
    const last = phones.at(-1);
    if (name === "user") phones.push(of(value));
    else if (name === "connect") connect = true;
    else if (last && name === "acks") last.acks = value !== "0";
    else if (last && OWN.includes(name)) last[name] = value;
  }
  return { phones: phones.slice(0, MOST), connect };
}

/** The link's part after the address; only what is unusual is in it. */
export function write(phones) {
  const parts = new URLSearchParams();
  for (const fields of phones) {
    parts.append("user", fields.user);
    const plain = of(fields.user);
    for (const name of OWN) if (fields[name] !== plain[name]) parts.append(name, fields[name]);
    if (!fields.acks) parts.append("acks", "0");
  }
  return `#${parts}`;
}
