import msgpack, zmq
s = zmq.Context().socket(zmq.REQ); s.connect("tcp://127.0.0.1:5560")
job, number = {"id": "o-1", "op": "send", "route": "demo"}, {"msisdn": "66812345678", "aid": 1001}
s.send(b"OQ1S" + msgpack.packb(job) + msgpack.packb(number))
answer = s.recv(); u = msgpack.Unpacker(); u.feed(answer[4:]); print(answer[:4], *u)
