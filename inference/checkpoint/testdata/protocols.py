"""Writes protocol3.pth, protocol4.pth, protocol5.pth and legacy4.pth: what torch.save(..., pickle_protocol=N) lays out,
pickled by CPython itself with stand-ins for torch's names. Run in this folder."""
import collections, io, pickle, struct, sys, types, zipfile

torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
sys.modules.update({"torch": torch, "torch._utils": utils})


class FloatStorage:
    def __init__(self, key, values):
        self.key, self.values = key, values


FloatStorage.__module__, FloatStorage.__qualname__, torch.FloatStorage = "torch", "FloatStorage", FloatStorage


def _rebuild_tensor_v2(*a): pass
def _rebuild_parameter(*a): pass


for f in (_rebuild_tensor_v2, _rebuild_parameter):
    f.__module__ = "torch._utils"
    setattr(utils, f.__name__, f)


class Tensor:
    def __init__(self, storage, first, size, stride):
        self.args = (storage, first, size, stride, False, collections.OrderedDict())

    def __reduce_ex__(self, protocol):
        return _rebuild_tensor_v2, self.args


class Parameter:
    def __init__(self, tensor):
        self.tensor = tensor

    def __reduce_ex__(self, protocol):
        return _rebuild_parameter, (self.tensor, True, collections.OrderedDict())


def dumps(obj, protocol, legacy):
    out = io.BytesIO()
    p = pickle.Pickler(out, protocol)
    p.persistent_id = lambda o: ("storage", FloatStorage, o.key, "cuda:0", len(o.values)) + ((None,) if legacy else ()) if isinstance(o, FloatStorage) else None
    p.dump(obj)
    return out.getvalue()


a, b = FloatStorage("0", [1, 2, 3, 4, 5, 6]), FloatStorage("1", [7, 8])
state = collections.OrderedDict()
state["a.weight"] = Parameter(Tensor(a, 0, (2, 3), (3, 1)))
state["a.turned"] = Tensor(a, 0, (3, 2), (1, 3))
state["b.bias"] = Tensor(b, 1, (1,), (1,))
state._metadata = {"": {"version": 1}}
obj = {"state": state, "step": 2**40, "seed": 2**64 - 1, "rate": 0.5, "tags": ["x", ("é", None, True)], "groups": [{"ids": [0, 1]}], "state2": {0: -3}}


def raw(s):
    return struct.pack("<%df" % len(s.values), *s.values)


for n in (3, 4, 5):
    with zipfile.ZipFile("protocol%d.pth" % n, "w", zipfile.ZIP_STORED) as z:
        for name, data in (("data.pkl", dumps(obj, n, False)), ("byteorder", b"little"), ("data/0", raw(a)), ("data/1", raw(b)), ("version", b"3\n")):
            z.writestr(zipfile.ZipInfo("m/" + name), data)
with open("legacy4.pth", "wb") as f:
    facts = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    for o in (0x1950A86A20F9469CFC6C, 1001, facts, obj, ["1", "0"]):
        f.write(dumps(o, 4, True))
    for s in (b, a):
        f.write(struct.pack("<q", len(s.values)) + raw(s))
