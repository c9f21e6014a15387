// Ids that no other scenario of this run, and no earlier run, has used.
const run = Date.now() % 10_000_000;
let count = 0;

export const nextUserId = () => `USR_${run}${String(++count).padStart(5, '0')}`;
export const nextCallId = () => `CALL_${run}${String(++count).padStart(5, '0')}`;
