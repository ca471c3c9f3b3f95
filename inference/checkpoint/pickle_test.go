package checkpoint

import (
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/humo-worker/humo-worker/inference/fault"
)

func unpickleString(s string) (any, error) {
	v, _, err := unpickle(newPickleSource(strings.NewReader(s), 0, int64(len(s))))
	return v, err
}

func TestPickleValues(t *testing.T) {
	big64 := new(big.Int).Lsh(big.NewInt(1), 63)
	cases := map[string]struct {
		pickle string
		want   any
	}{
		"none":           {"N", nil},
		"bools":          {"\x88\x89\x86", tuple{true, false}},
		"small ints":     {"K\xffM\x01\xff\x86", tuple{int64(255), int64(0xff01)}},
		"signed int":     {"J\xfe\xff\xff\xff", int64(-2)},
		"long":           {"\x8a\x02\x00\x80", int64(-32768)},
		"empty long":     {"\x8a\x00", int64(0)},
		"big long":       {"\x8a\x09" + strings.Repeat("\x00", 7) + "\x80\x00", big64},
		"float":          {"G\x3f\xe0\x00\x00\x00\x00\x00\x00", 0.5},
		"strings":        {"X\x01\x00\x00\x00a\x8c\x02\xc3\xa9\x8d\x01\x00\x00\x00\x00\x00\x00\x00c\x87", tuple{"a", "é", "c"}},
		"tuples":         {")K\x01\x85(K\x02K\x03K\x04K\x05t\x87", tuple{tuple{}, tuple{int64(1)}, tuple{int64(2), int64(3), int64(4), int64(5)}}},
		"lists":          {"](K\x01K\x02eK\x03a", &list{items: []any{int64(1), int64(2), int64(3)}}},
		"dict":           {"}X\x01\x00\x00\x00aK\x01s", &dict{keys: []any{"a"}, values: []any{int64(1)}}},
		"memo":           {"K\x07q\x00h\x00\x86r\x00\x00\x00\xffj\x00\x00\x00\xff\x86", tuple{tuple{int64(7), int64(7)}, tuple{int64(7), int64(7)}}},
		"memoize":        {"\x95\x00\x00\x00\x00\x00\x00\x00\x00K\x07\x94K\x08\x94h\x00\x87", tuple{int64(7), int64(8), int64(7)}},
		"ordered dict":   {noHooks + pyStr("k") + "Ns", &dict{keys: []any{"k"}, values: []any{nil}}},
		"dropped state":  {noHooks + pyDict("_metadata", "N") + "b", &dict{}},
		"stack global":   {pyStr("collections") + pyStr("OrderedDict") + "\x93)R", &dict{}},
		"parameter":      {pyGlobal("torch._utils", "_rebuild_parameter") + pyTuple(floats("0", 1), "\x88", noHooks) + "R", oneFloat},
		"empty metadata": {pyTensor(pyStorage("FloatStorage", "0", 1), 0, []int64{1}, []int64{1}, "}"), oneFloat},
	}
	options := cmp.Options{cmp.AllowUnexported(list{}, dict{}, pickledTensor{}, storage{}), cmpopts.EquateComparable(),
		cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })}
	for name, c := range cases {
		got, err := unpickleString(pickleOf(c.pickle))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(c.want, got, options); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

var oneFloat = &pickledTensor{storage: storage{key: "0", dtype: F32, elements: 1, length: 1}, shape: []int64{1}, stride: []int64{1}}

// Only the listed names pass, in whatever way a pickle names them; the message tells which one was refused.
func TestForbiddenGlobals(t *testing.T) {
	for _, g := range [][2]string{
		{"os", "system"}, {"posix", "system"}, {"builtins", "eval"}, {"builtins", "getattr"}, {"__builtin__", "exec"},
		{"subprocess", "Popen"}, {"torch", "load"}, {"torch", "Size"}, {"torch", "ShortStorage"}, {"torch", "UntypedStorage"},
		{"torch.storage", "UntypedStorage"}, {"torch._utils", "_rebuild_sparse_tensor"}, {"torch._utils", "_rebuild_tensor"},
		{"torch", "_utils._rebuild_tensor_v2"}, {"collections", "OrderedDict.fromkeys"}, {"collections", "orderedDict"},
		{"", ""}, {"argparse", "Namespace"}, {"_codecs", "encode"}, {"copyreg", "_reconstructor"},
	} {
		for _, way := range []string{
			pyGlobal(g[0], g[1]) + pyTuple(pyStr("id")) + "R",
			pyStr(g[0]) + pyStr(g[1]) + "\x93" + pyTuple(pyStr("id")) + "R",
			"(" + pyStr("id") + "i" + g[0] + "\n" + g[1] + "\n",
			pyDict("hidden", pyTuple(pyGlobal(g[0], g[1]))),
		} {
			_, err := unpickleString(pickleOf(way))
			wantFault(t, err, CodeForbiddenGlobal, quote(g[0]), quote(g[1]))
		}
	}
	_, err := openBytes(torchZip(pickleOf(pyGlobal("os", "system") + pyTuple(pyStr("id")) + "R")))
	wantFault(t, err, CodeForbiddenGlobal, `"os"`, `"system"`)
	_, err = openBytes([]byte(pickleOf(pyGlobal("os", "system") + pyTuple(pyStr("id")) + "R")))
	wantFault(t, err, CodeForbiddenGlobal, `"os"`, `"system"`)
}

func TestPickleRefusals(t *testing.T) {
	store := pyStorage("FloatStorage", "0", 6)
	tensor := pyGlobal("torch._utils", "_rebuild_tensor_v2")
	max := int64(1<<63 - 1)
	cases := map[string]string{
		"empty":                        "",
		"empty stack":                  "0",
		"value left over":              "K\x01K\x02",
		"mark left over":               "(K\x01",
		"mark below the result":        "K\x01(",
		"no mark":                      "K\x01t",
		"pop through a mark":           "K\x01(\x85",
		"tuple of too few":             "K\x01\x87",
		"memo miss":                    "h\x00",
		"memo of nothing":              "q\x00",
		"append to a tuple":            ")K\x01a",
		"append to a dict":             "}K\x01a",
		"set in a list":                "]K\x01K\x02s",
		"odd dict":                     "}(K\x01u",
		"string not UTF-8":             "X\x01\x00\x00\x00\xff",
		"string of 4 GB":               "X\xff\xff\xff\xffabc",
		"string of 2^64":               "\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc",
		"name without end":             "cos",
		"name too long":                "c" + strings.Repeat("x", 1<<17) + "\n",
		"protocol 1":                   "\x80\x01N",
		"protocol 6":                   "\x80\x06N",
		"pop":                          "NN0",
		"dup":                          "N2\x86",
		"newobj":                       pyGlobal("collections", "OrderedDict") + ")\x81",
		"obj":                          "(" + pyGlobal("collections", "OrderedDict") + "o",
		"extension":                    "\x82\x01",
		"text int":                     "I1\n",
		"bytes":                        "C\x01a",
		"set":                          "\x8f",
		"call of a string":             pyStr("x") + ")R",
		"call without a tuple":         pyGlobal("collections", "OrderedDict") + "NR",
		"call of a storage class":      pyGlobal("torch", "FloatStorage") + ")R",
		"dict with arguments":          pyGlobal("collections", "OrderedDict") + pyTuple("]") + "R",
		"parameter of nothing":         pyGlobal("torch._utils", "_rebuild_parameter") + pyTuple("N", "\x88", noHooks) + "R",
		"state of a tensor":            floats("0", 1) + "}b",
		"state that is no dict":        noHooks + "Nb",
		"class named by numbers":       "K\x01K\x02\x93",
		"persistent id of a string":    pyStr("storage") + "Q",
		"persistent id of a module":    pyTuple(pyStr("module"), pyGlobal("torch", "FloatStorage"), pyStr("0"), pyStr("cpu"), "K\x01") + "Q",
		"persistent id of a tuple":     pyTuple(")", pyGlobal("torch", "FloatStorage"), pyStr("0"), pyStr("cpu"), "K\x01") + "Q",
		"storage of a function":        pyTuple(pyStr("storage"), tensor, pyStr("0"), pyStr("cpu"), "K\x01") + "Q",
		"storage of negative size":     pyStorage("FloatStorage", "0", -1),
		"storage beyond int64":         pyStorage("DoubleStorage", "0", max/8+1),
		"storage in two sizes":         pyTuple(store, pyStorage("FloatStorage", "0", 7)),
		"storage in two types":         pyTuple(store, pyStorage("IntStorage", "0", 6)),
		"view beyond its storage":      pyStorage("FloatStorage", "0", 6, pyTuple(pyStr("v"), "K\x04", "K\x03")),
		"view of a negative start":     pyStorage("FloatStorage", "0", 6, pyTuple(pyStr("v"), pyInt(-1), "K\x03")),
		"view that overflows":          pyStorage("FloatStorage", "0", 6, pyTuple(pyStr("v"), pyInt(max), pyInt(2))),
		"view of a string":             pyStorage("FloatStorage", "0", 6, pyStr("v")),
		"tensor without storage":       pyTensor("N", 0, nil, nil),
		"tensor of too few arguments":  tensor + pyTuple(store, "K\x00", ")", ")") + "R",
		"tensor of too many arguments": pyTensor(store, 0, nil, nil, "}", "}"),
		"tensor with metadata":         pyTensor(store, 0, nil, nil, pyDict("neg", "\x88")),
		"tensor with hooks":            tensor + pyTuple(store, "K\x00", ")", ")", "\x89", pyDict("h", "N")) + "R",
		"tensor of negative offset":    pyTensor(store, -1, []int64{1}, []int64{1}),
		"tensor of negative size":      pyTensor(store, 0, []int64{-1}, []int64{1}),
		"tensor of negative stride":    pyTensor(store, 5, []int64{2}, []int64{-1}),
		"tensor of unequal ranks":      pyTensor(store, 0, []int64{2, 3}, []int64{1}),
		"empty tensor, unequal ranks":  pyTensor(store, 0, []int64{0}, nil),
		"tensor of rank 65":            pyTensor(store, 0, make([]int64, 65), make([]int64, 65)),
		"tensor too long":              pyTensor(store, 0, []int64{7}, []int64{1}),
		"tensor too far":               pyTensor(store, 6, []int64{1}, []int64{1}),
		"scalar too far":               pyTensor(store, 6, nil, nil),
		"empty tensor too far":         pyTensor(store, 7, []int64{0}, []int64{1}),
		"stride too far":               pyTensor(store, 0, []int64{2, 2}, []int64{5, 1}),
		"offset that overflows":        pyTensor(store, max, []int64{2}, []int64{1}),
		"stride that overflows":        pyTensor(store, 0, []int64{3}, []int64{max / 2}),
		"strides whose sum overflows":  pyTensor(store, 0, []int64{2, 2}, []int64{max, max}),
		"shape that overflows":         pyTensor(store, 0, []int64{max, max}, []int64{0, 0}),
		"shape beyond int64 bytes":     pyTensor(store, 0, []int64{max / 2}, []int64{0}),
		"empty shape that overflows":   pyTensor(store, 0, []int64{0, max, max}, []int64{1, 1, 1}),
	}
	for name, instructions := range cases {
		// The pickle is also opened as a file: naming the leaves must not make it pass.
		for _, open := range []func(string) error{
			func(s string) error { _, err := unpickleString(s); return err },
			func(s string) error { _, err := openBytes(torchZip(s, "0", strings.Repeat("\x00", 24))); return err },
		} {
			err := open(pickleOf(instructions))
			if code := fault.CodeOf(err); err == nil || code == "internal" || code == CodeUnreadable {
				t.Errorf("%s: got %v (%s)", name, err, code)
			}
		}
	}
}

// What a pickle unfolds into is refused when it has no end or no proportion, before it takes memory.
func TestPickleBombs(t *testing.T) {
	tuples, dicts := "K\x01q\x00", "}q\x00"
	for i := byte(1); i < 30; i++ {
		last, next := "h"+string([]byte{i - 1}), "q"+string([]byte{i})
		tuples += last + last + "\x86" + next
		dicts += "}(" + pyStr("a") + last + pyStr("b") + last + "u" + next
	}
	tuples, dicts = "("+tuples+"t", "("+dicts+"t"
	const unproportional, endless = "out of proportion", "contains itself"
	cases := map[string][2]string{
		"dict in itself":        {"}q\x00" + pyStr("self") + "h\x00s", endless},
		"list in itself":        {"]q\x00h\x00a", endless},
		"dict in its own list":  {"}q\x00" + pyStr("l") + "]h\x00as", endless},
		"deep dict":             {strings.Repeat("}"+pyStr("a"), 40) + "N" + strings.Repeat("s", 40), endless},
		"deep tuple":            {"N" + strings.Repeat("\x85", 100000), endless},
		"doubled tuples":        {tuples, unproportional},
		"doubled dicts":         {dicts, unproportional},
		"long names":            {"}q\x00" + pyStr(strings.Repeat("k", 1<<20)) + "h\x00s", unproportional},
		"long list, many times": {"]q\x00(" + strings.Repeat("N", 60000) + "e](" + strings.Repeat("h\x00", 60000) + "e\x86", unproportional},
		"many open marks":       {strings.Repeat("(", maxStack+1), "open marks"},
		"many values":           {strings.Repeat("}", maxStack+1), "on its stack"},
		"many instructions":     {"N" + strings.Repeat("q\x00", maxInstructions), "instructions"},
		"many things to keep":   {"](" + strings.Repeat("}r\xff\xff\xff\xff", 60000) + "e" + strings.Repeat("(}}}}e", maxInstructions/6), "instructions"},
		"large pickle":          {"N" + strings.Repeat(pyStr(strings.Repeat("x", 1<<16))+"\x85\x85", maxPickle>>16), "more than"},
	}
	for name, c := range cases {
		s := pickleOf(c[0])
		file := torchZip(s)
		var err error
		used := allocated(func() { _, err = openBytes(file) })
		wantFault(t, err, CodeMalformed, c[1])
		if limit := uint64(8<<20 + 80*len(s)); used > limit {
			t.Errorf("%s: opening %d bytes made %d bytes of garbage, more than %d", name, len(s), used, limit)
		}
	}
}
