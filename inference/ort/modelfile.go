package ort

import (
	"errors"
	"fmt"
	"io"
	"os"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
)

// MaxModelBytes bounds an ONNX file: a protobuf message cannot be larger.
const MaxModelBytes = 2<<30 - 1

// LoadModel reads a published ONNX file as it is, for NewSession: its ports come from the file. A first dimension that is
// left open (the batch) becomes 1; any other open one is refused, as are files that keep their weights in other files. A
// file that cannot be used gives code "bad_weights" with the path as the field.
func LoadModel(path string) (*graph.Model, error) {
	bad := fault.New("bad_weights", path, "the file is no ONNX model that can be run; fetch it again")
	data, err := readModel(path)
	if err != nil {
		return nil, bad.Because(err)
	}
	m := &graph.Model{Name: path, Bytes: data}
	if err := readPorts(m); err != nil {
		return nil, bad.Because(err)
	}
	return m, nil
}

func readModel(path string) (data []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > MaxModelBytes {
		return nil, fmt.Errorf("it is not a regular file of at most %d bytes", MaxModelBytes)
	}
	data = make([]byte, info.Size())
	_, err = io.ReadFull(f, data)
	return data, err
}

// Field numbers of onnx.proto3.
const (
	modelGraph       = 7
	graphInitializer = 5
	graphInput       = 11
	graphOutput      = 12
	tensorName       = 8
	tensorLocation   = 14
	valueName        = 1
	valueType        = 2
	typeTensor       = 1
	typeElement      = 1
	typeShape        = 2
	shapeDim         = 1
	dimValue         = 1
)

// readPorts fills in the inputs and outputs. Old files list initializers among the inputs; those are none.
func readPorts(m *graph.Model) error {
	var body []byte
	if err := fields(m.Bytes, func(field protowire.Number, value []byte, _ uint64) error {
		if field == modelGraph {
			body = value
		}
		return nil
	}); err != nil {
		return err
	}
	weights := map[string]bool{}
	var inputs []graph.Port
	err := fields(body, func(field protowire.Number, value []byte, _ uint64) error {
		switch field {
		case graphInitializer:
			name, err := initializerName(value)
			weights[name] = true
			return err
		case graphInput, graphOutput:
			p, err := readPort(value)
			if field == graphInput {
				inputs = append(inputs, p)
			} else {
				m.Outputs = append(m.Outputs, p)
			}
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, p := range inputs {
		if !weights[p.Name] {
			m.Inputs = append(m.Inputs, p)
		}
	}
	if len(m.Inputs) == 0 || len(m.Outputs) == 0 {
		return fmt.Errorf("it has %d inputs and %d outputs", len(m.Inputs), len(m.Outputs))
	}
	return nil
}

// initializerName also refuses weights in other files: sessions look for those below "/".
func initializerName(tensor []byte) (name string, err error) {
	err = fields(tensor, func(field protowire.Number, value []byte, number uint64) error {
		switch {
		case field == tensorName:
			name = string(value)
		case field == tensorLocation && number != 0:
			return errors.New("it keeps weights in other files; a file that holds everything is needed")
		}
		return nil
	})
	return name, err
}

func readPort(info []byte) (p graph.Port, err error) {
	var tensor, shape []byte
	known := false
	err = fields(info, func(field protowire.Number, value []byte, _ uint64) error {
		switch field {
		case valueName:
			p.Name = string(value)
		case valueType:
			return fields(value, func(field protowire.Number, value []byte, _ uint64) error {
				if field == typeTensor {
					tensor = value
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return p, err
	}
	err = fields(tensor, func(field protowire.Number, value []byte, number uint64) error {
		switch field {
		case typeElement:
			p.DType = elementType(number)
		case typeShape:
			shape, known = value, true
		}
		return nil
	})
	if err != nil {
		return p, err
	}
	if !known || p.DType == checkpoint.Invalid {
		return p, fmt.Errorf("its port %q is no tensor of a known type and shape", p.Name)
	}
	err = fields(shape, func(field protowire.Number, value []byte, _ uint64) error {
		if field != shapeDim {
			return nil
		}
		size, err := readDim(value)
		switch {
		case err != nil:
			return err
		case size > 0:
		case len(p.Shape) == 0:
			size = 1
		default:
			return fmt.Errorf("dimension %d of its port %q is open", len(p.Shape), p.Name)
		}
		p.Shape = append(p.Shape, size)
		return nil
	})
	return p, err
}

// readDim returns 0 for a dimension that has a name, or nothing, in place of a size. Some exporters write -1 instead.
func readDim(dim []byte) (size int64, err error) {
	err = fields(dim, func(field protowire.Number, _ []byte, number uint64) error {
		if field == dimValue {
			size = max(0, int64(number))
		}
		return nil
	})
	return size, err
}

// elementType is the checkpoint's name for a type of ONNX, whose numbers the library shares.
func elementType(number uint64) checkpoint.DType {
	for dtype, t := range elementTypes {
		if uint64(t) == number {
			return dtype
		}
	}
	return checkpoint.Invalid
}

// fields calls visit for every field of a protobuf message: value holds the bytes of a length-delimited one, number the
// number of a varint; other kinds are passed over.
func fields(message []byte, visit func(field protowire.Number, value []byte, number uint64) error) error {
	for len(message) > 0 {
		field, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		var value []byte
		var number uint64
		switch kind {
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(message)
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(message)
		default:
			n = protowire.ConsumeFieldValue(field, kind, message)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := visit(field, value, number); err != nil {
			return err
		}
		message = message[n:]
	}
	return nil
}
