package checkpoint

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSafetensors(t *testing.T) {
	header := `{"__metadata__":{"format":"pt","x":null},"b":{"data_offsets":[8,14],"shape":[1,3],"dtype":"BF16","extra":[{}]},` +
		`"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"s":{"dtype":"U8","shape":[],"data_offsets":[14,15]},` +
		`"e":{"dtype":"F64","shape":[3,0,2],"data_offsets":[14,14]}}   `
	b := safetensorsOf(header, twoFloats+"\x80\x3f\x00\x40\x40\x40"+"\x07")
	ix, err := openBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for name, x := range ix.Tensors {
		raw, err := x.read(inMemory(b))
		if err != nil {
			t.Error(err)
		}
		got[name] = fmt.Sprintf("%s %v %v %v %v", x.DType, x.Shape, x.Stride, widen(raw, x.DType), x.Contiguous())
	}
	want := map[string]string{
		"a": "F32 [2] [1] [1 2] true", "b": "BF16 [1 3] [3 1] [1 2 3] true",
		"s": "U8 [] [] [7] true", "e": "F64 [3 0 2] [2 2 1] [] true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a", "b", "e", "s"}, ix.Names()); diff != "" {
		t.Errorf("names (-want +got)\n%s", diff)
	}
	for _, header := range []string{`{}`, `{} `, `{"__metadata__":{}}`} {
		if ix, err := openBytes(safetensorsOf(header, "")); err != nil || len(ix.Tensors) != 0 {
			t.Errorf("a file without tensors: %v, %v", ix, err)
		}
	}
}

func TestSafetensorsRefusals(t *testing.T) {
	one := func(fields string) []byte { return safetensorsOf(`{"a":{`+fields+`}}`, "01234567") }
	const good = `"dtype":"F32","shape":[2],"data_offsets":[0,8]`
	if _, err := openBytes(one(good)); err != nil {
		t.Fatal(err)
	}
	with := func(old, new string) []byte { return one(strings.Replace(good, old, new, 1)) }
	cases := map[string]struct {
		file []byte
		code string
	}{
		"empty file":              {nil, CodeTruncated},
		"eight bytes":             {[]byte(le(2, 8)), CodeTruncated},
		"header of nothing":       {[]byte(le(0, 8) + "{"), CodeMalformed},
		"header longer than file": {[]byte(le(99, 8) + "{}"), CodeTruncated},
		"header of 1 GB":          {[]byte(le(1<<30, 8) + "{}"), CodeMalformed},
		"header of 2^63":          {[]byte(le(1<<63, 8) + "{}"), CodeMalformed},
		"header of spaces first":  {safetensorsOf(" {}", ""), CodeMalformed},
		"header cut":              {safetensorsOf(`{"a":{`, ""), CodeTruncated},
		"header with a tail":      {safetensorsOf(`{}{}`, ""), CodeMalformed},
		"header not UTF-8":        {safetensorsOf("{\"a\xff\":{}}", ""), CodeMalformed},
		"header no JSON":          {safetensorsOf(`{"a":}`, ""), CodeMalformed},
		"comma at the end":        {safetensorsOf(`{"__metadata__":{},}`, ""), CodeMalformed},
		"missing comma":           {safetensorsOf(`{"__metadata__":{}"a":{}}`, ""), CodeMalformed},
		"tensor twice":            {safetensorsOf(`{"a":{`+good+`},"a":{`+good+`}}`, "01234567"), CodeMalformed},
		"tensor twice, escaped":   {safetensorsOf(`{"a":{`+good+`},"\u0061":{`+good+`}}`, "01234567"), CodeMalformed},
		"tensor null":             {safetensorsOf(`{"a":null}`, "01234567"), CodeMalformed},
		"tensor an array":         {safetensorsOf(`{"a":[]}`, "01234567"), CodeMalformed},
		"no dtype":                {with(`"dtype":"F32",`, ""), CodeMalformed},
		"no shape":                {with(`"shape":[2],`, ""), CodeMalformed},
		"no offsets":              {with(`,"data_offsets":[0,8]`, ""), CodeMalformed},
		"dtype in capitals":       {with(`"dtype"`, `"DTYPE"`), CodeMalformed},
		"dtype twice":             {with(`"dtype"`, `"dtype":"I32","dtype"`), CodeMalformed},
		"dtype unknown":           {with("F32", "F8_E4M3"), CodeUnsupported},
		"dtype invalid":           {with("F32", "invalid"), CodeUnsupported},
		"dtype a number":          {with(`"F32"`, `1`), CodeMalformed},
		"shape null":              {with("[2]", "null"), CodeMalformed},
		"shape of null":           {with("[2]", "[2,null]"), CodeMalformed},
		"shape of strings":        {with("[2]", `["2"]`), CodeMalformed},
		"shape negative":          {with("[2]", "[-2,-1]"), CodeMalformed},
		"shape a fraction":        {with("[2]", "[2.0]"), CodeMalformed},
		"shape of 2^64":           {with("[2]", "[18446744073709551616]"), CodeMalformed},
		"shape overflows":         {with("[2]", "[4294967296,4294967296,2]"), CodeMalformed},
		"shape overflows to fit":  {with("[2]", "[9223372036854775807,9223372036854775807,2]"), CodeMalformed},
		"empty shape overflows":   {one(`"dtype":"F32","shape":[0,9223372036854775807,2],"data_offsets":[0,0]`), CodeMalformed},
		"shape of rank 65":        {with("[2]", "[2"+strings.Repeat(",1", 64)+"]"), CodeMalformed},
		"shape too small":         {with("[2]", "[1]"), CodeMalformed},
		"one offset":              {with("[0,8]", "[8]"), CodeMalformed},
		"three offsets":           {with("[0,8]", "[0,8,8]"), CodeMalformed},
		"offsets reversed":        {with("[0,8]", "[8,0]"), CodeMalformed},
		"offsets overflow":        {with("[0,8]", "[9223372036854775800,9223372036854775807]"), CodeMalformed},
		"offset negative":         {with("[0,8]", "[-8,0]"), CodeMalformed},
		"hole at the start":       {safetensorsOf(`{"a":{"dtype":"U8","shape":[7],"data_offsets":[1,8]}}`, "01234567"), CodeMalformed},
		"bytes left over":         {safetensorsOf(`{"a":{"dtype":"U8","shape":[7],"data_offsets":[0,7]}}`, "01234567"), CodeMalformed},
		"bytes missing":           {safetensorsOf(`{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}`, "01234567"), CodeTruncated},
		"overlap": {safetensorsOf(`{"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},"b":{"dtype":"U8","shape":[5],"data_offsets":[3,8]}}`,
			"01234567"), CodeMalformed},
		"same bytes twice": {safetensorsOf(`{"a":{`+good+`},"b":{`+good+`}}`, "01234567"), CodeMalformed},
		"some other file":  {[]byte("GGUF, or what else may lie there"), CodeMalformed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := openBytes(c.file)
			wantFault(t, err, c.code)
		})
	}
}

// JSON that is made to be expensive stays within a small multiple of its size.
func TestHeaderCost(t *testing.T) {
	var small, empties strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&small, `"%d":{"dtype":"U8","shape":[1],"data_offsets":[%d,%d]},`, i, i, i+1)
		fmt.Fprintf(&empties, `"%d":{"dtype":"U8","shape":[%s],"data_offsets":[0,0]},`, i, strings.Repeat("0,", 63)+"0")
	}
	cases := map[string][]byte{
		"many small tensors": safetensorsOf("{"+strings.TrimSuffix(small.String(), ",")+"}", strings.Repeat("x", 20000)),
		"many long shapes":   safetensorsOf("{"+strings.TrimSuffix(empties.String(), ",")+"}", ""),
		"deep metadata":      safetensorsOf(`{"__metadata__":`+strings.Repeat("[", 1<<20)+"}", ""),
		"deep tensor":        safetensorsOf(strings.Repeat(`{"a":`, 1<<18), ""),
		"long shape":         safetensorsOf(`{"a":{"shape":[`+strings.Repeat("0,", 1<<20)+"0]}}", ""),
		"long metadata":      safetensorsOf(`{"__metadata__":[`+strings.Repeat("0,", 1<<20)+"0]}", ""),
		"long name":          safetensorsOf(`{"`+strings.Repeat("x", 1<<20)+`":{}}`, ""),
	}
	for name, b := range cases {
		used := allocated(func() { _, _ = openBytes(b) })
		if limit := uint64(1<<20 + 64*len(b)); used > limit {
			t.Errorf("%s: opening %d bytes made %d bytes of garbage, more than %d", name, len(b), used, limit)
		}
	}
}
