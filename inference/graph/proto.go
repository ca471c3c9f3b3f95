package graph

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
)

// Versions that every supported ONNX Runtime accepts. Opset 22 is the newest whose operators all have CUDA kernels.
const (
	irVersion = 10
	opset     = 22
	microsoft = "com.microsoft" // domain of ONNX Runtime's fused operators, version 1
)

// onnxTypes are the values of onnx.TensorProto.DataType.
var onnxTypes = map[checkpoint.DType]uint64{checkpoint.F32: 1, checkpoint.U8: 2, checkpoint.I8: 3, checkpoint.I16: 5,
	checkpoint.I32: 6, checkpoint.I64: 7, checkpoint.Bool: 9, checkpoint.F16: 10, checkpoint.F64: 11, checkpoint.BF16: 16}

// message is a protobuf message in the wire format. Field numbers are those of onnx.proto3.
type message []byte

func (m *message) uint(field protowire.Number, v uint64) {
	*m = protowire.AppendVarint(protowire.AppendTag(*m, field, protowire.VarintType), v)
}

func (m *message) float(field protowire.Number, v float32) {
	*m = protowire.AppendFixed32(protowire.AppendTag(*m, field, protowire.Fixed32Type), math.Float32bits(v))
}

func (m *message) bytes(field protowire.Number, v []byte) {
	*m = protowire.AppendBytes(protowire.AppendTag(*m, field, protowire.BytesType), v)
}

func (m *message) text(field protowire.Number, v string) { m.bytes(field, []byte(v)) }

// attr is an encoded onnx.AttributeProto.
type attr = message

func attrInt(name string, v int64) attr {
	var a attr
	a.text(1, name)
	a.uint(3, uint64(v))
	a.uint(20, 2)
	return a
}

func attrFloat(name string, v float32) attr {
	var a attr
	a.text(1, name)
	a.float(2, v)
	a.uint(20, 1)
	return a
}

func attrText(name, v string) attr {
	var a attr
	a.text(1, name)
	a.text(4, v)
	a.uint(20, 3)
	return a
}

func attrInts(name string, v ...int64) attr {
	var a attr
	a.text(1, name)
	for _, x := range v {
		a.uint(8, uint64(x))
	}
	a.uint(20, 7)
	return a
}

// view lists the nodes with the shapes and dtypes of their values.
func (g *Graph) view() []Node {
	list := make([]Node, 0, len(g.nodes))
	for _, n := range g.nodes {
		v := Node{Op: n.op, Domain: n.domain, Path: n.name}
		for _, name := range n.in {
			v.In = append(v.In, g.values[name])
		}
		for _, name := range n.out {
			v.Out = append(v.Out, g.values[name])
		}
		list = append(list, v)
	}
	return list
}

// finish encodes the graph as an onnx.ModelProto.
func (g *Graph) finish(name string) *Model {
	var body message
	for _, n := range g.nodes {
		body.bytes(1, n.encode(g.rename))
	}
	body.text(2, name)
	var inline []Value
	for _, t := range g.inits {
		body.bytes(5, t.encode())
		if t.external == nil {
			inline = append(inline, g.values[t.name])
		}
	}
	for _, p := range g.inputs {
		body.bytes(11, p.encode())
	}
	for _, b := range g.bound {
		body.bytes(11, b.Port.encode())
	}
	for _, p := range g.outputs {
		body.bytes(12, p.encode())
	}
	var m message
	m.uint(1, irVersion)
	m.text(2, "humo-worker")
	m.bytes(7, body)
	for _, domain := range []struct {
		name    string
		version uint64
	}{{"", opset}, {microsoft, 1}} {
		var o message
		o.text(1, domain.name)
		o.uint(2, domain.version)
		m.bytes(8, o)
	}
	return &Model{Name: name, Bytes: m, Inputs: g.inputs, Outputs: g.outputs, Bound: g.bound, Nodes: g.view(), Inline: inline}
}

func (n node) encode(rename map[string]string) message {
	var m message
	for _, v := range n.in {
		m.text(1, renamed(v, rename))
	}
	for _, v := range n.out {
		m.text(2, renamed(v, rename))
	}
	m.text(3, n.name)
	m.text(4, n.op)
	for _, a := range n.attrs {
		m.bytes(5, a)
	}
	if n.domain != "" {
		m.text(7, n.domain)
	}
	return m
}

func renamed(name string, rename map[string]string) string {
	if r, ok := rename[name]; ok {
		return r
	}
	return name
}

func (t initializer) encode() message {
	var m message
	for _, d := range t.shape {
		m.uint(1, uint64(d))
	}
	m.uint(2, onnxTypes[t.dtype])
	m.text(8, t.name)
	if t.external == nil {
		m.bytes(9, t.raw)
		return m
	}
	// The session's external data folder is "/": ONNX Runtime refuses absolute locations and links that leave the folder.
	for _, e := range [][2]string{
		{"location", strings.TrimPrefix(t.external.File, "/")},
		{"offset", strconv.FormatInt(t.external.Offset, 10)},
		{"length", strconv.FormatInt(t.external.Elements()*t.external.DType.Size(), 10)},
	} {
		var kv message
		kv.text(1, e[0])
		kv.text(2, e[1])
		m.bytes(13, kv)
	}
	m.uint(14, 1)
	return m
}

func (p Port) encode() message {
	var shape message
	for _, d := range p.Shape {
		var dim message
		dim.uint(1, uint64(d))
		shape.bytes(1, dim)
	}
	var tensor, typ, m message
	tensor.uint(1, onnxTypes[p.DType])
	tensor.bytes(2, shape)
	typ.bytes(1, tensor)
	m.text(1, p.Name)
	m.bytes(2, typ)
	return m
}

func float32Bytes(v []float32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

func int64Bytes(v []int64) []byte {
	b := make([]byte, 0, 8*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint64(b, uint64(x))
	}
	return b
}
