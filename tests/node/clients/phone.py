"""Phones of python-socketio, told what to do by lines of JSON on stdin; what happens goes to stdout the same way."""
import asyncio
import json
import sys

import socketio

TRIES = 20


class Client(socketio.AsyncClient):
    """Tells whether the server asked for an acknowledgement, which handlers do not hear."""

    async def _handle_event(self, namespace, id, data):
        self.phone.heard(id is not None, *data)
        await super()._handle_event(namespace, id, data)


class Phone:
    def __init__(self, number):
        self.number = number
        # A lost connection is a finding, not something to be healed silently.
        self.client = Client(reconnection=False)
        self.client.phone = self
        self.client.on('*', self.answer)
        self.client.on('connect_error', self.refused)
        self.client.on('disconnect', self.lost)
        self.refusal = None

    def say(self, **what):
        print(json.dumps({'phone': self.number, **what}, ensure_ascii=False), flush=True)

    def heard(self, asked, event, *args):
        self.say(**{'is': 'event', 'event': event, 'args': args, 'asked': asked})

    async def answer(self, event, *args):
        return {'received': True}

    async def refused(self, data):
        self.refusal = data.get('message') if isinstance(data, dict) else None

    async def lost(self, reason=None):
        self.say(**{'is': 'disconnect', 'reason': str(reason)})

    async def open(self, url, transports, auth):
        for _ in range(TRIES):
            try:
                await self.client.connect(url, auth=auth, transports=transports, wait_timeout=10)
                return self.say(**{'is': 'connect', 'transport': self.client.transport()})
            except socketio.exceptions.ConnectionError as error:
                self.say(**{'is': 'connect_error', 'message': self.refusal or str(error), 'final': self.refusal is not None})
                if self.refusal is not None:
                    return
                await asyncio.sleep(0.2)

    async def emit(self, event, args, ack):
        def answered(*given):
            self.say(**{'is': 'ack', 'ack': ack, 'args': given})

        await self.client.emit(event, tuple(args), callback=None if ack is None else answered)


async def main():
    phones, tasks = {}, set()
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        told = json.loads(line)
        do, number = told.pop('do'), told.pop('phone')
        phone = phones.setdefault(number, Phone(number))
        if do == 'open':
            task = asyncio.create_task(phone.open(**told))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        elif do == 'emit':
            # In the order of the lines.
            await phone.emit(**told)
        elif do == 'close':
            await phone.client.disconnect()


asyncio.run(main())
