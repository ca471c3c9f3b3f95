package inference

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/gpu"
	"github.com/humo-worker/humo-worker/inference/plan"
)

var (
	ampere = gpu.Card{Name: "NVIDIA L40S", Major: 8, Minor: 9, Free: 40e9, Total: 48e9}
	turing = gpu.Card{Ordinal: 1, Name: "Tesla T4", Major: 7, Minor: 5, Free: 15e9, Total: 16e9}
)

// The type: what is asked for, where it can be; else what all devices compute fastest.
func TestDType(t *testing.T) {
	for _, test := range []struct {
		asked DType
		cards []gpu.Card
		want  DType // empty: refused
	}{
		{"", nil, FP32},
		{DTypeAuto, nil, FP32},
		{BF16, nil, BF16}, // emulated
		{DTypeAuto, []gpu.Card{ampere, ampere}, BF16},
		{DTypeAuto, []gpu.Card{ampere, turing}, FP16},
		{FP16, []gpu.Card{ampere}, FP16},
		{FP32, []gpu.Card{turing}, FP32},
		{BF16, []gpu.Card{ampere, turing}, ""},
	} {
		got, err := test.asked.on(test.cards)
		if bad, refused := errors.AsType[*fault.Error](err); refused != (test.want == "") || refused && (bad.Field != "HUMO_DTYPE" || !strings.Contains(bad.Message, "GPU 1, Tesla T4")) {
			t.Errorf("%q on %v: %v", test.asked, test.cards, err)
		} else if !refused && nameOf(got) != test.want {
			t.Errorf("%q on %v: %s, want %s", test.asked, test.cards, nameOf(got), test.want)
		}
	}
}

// Values that can work nowhere are faults that name their variable.
func TestDeviceSettings(t *testing.T) {
	for field, c := range map[string]DeviceConfig{
		"":           {GPUs: "0,1", DType: FP16},
		"HUMO_DTYPE": {DType: "float16"},
		"HUMO_GPUS":  {GPUs: "all"},
	} {
		err := Config{Device: c}.Validate()
		bad, refused := errors.AsType[*fault.Error](err)
		if refused != (field != "") || refused && (bad.Field != field || bad.Code != "invalid_setting") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// What runs where: in bf16 everything is on the card; in fp16 the text encoder, which would overflow, is on the CPU in
// float32; the VAE and the audio encoder compute in float32 everywhere.
func TestSites(t *testing.T) {
	for dtype, want := range map[checkpoint.DType]string{
		checkpoint.F32:  "F32 on CPU, F32 on GPU 0, F32 on GPU 0, F32 on GPU 0",
		checkpoint.F16:  "F32 on CPU, F32 on GPU 0, F32 on GPU 0, F16 on GPU 0",
		checkpoint.BF16: "BF16 on GPU 0, F32 on GPU 0, F32 on GPU 0, BF16 on GPU 0",
	} {
		e := &Engine{devices: []*device{{card: &ampere, dtype: dtype}, {card: &turing, dtype: dtype}}, cpu: cpu(checkpoint.F32)}
		var got []string
		for _, n := range plan.Networks {
			s := e.site(n)
			where, _, _ := strings.Cut(s.device.String(), ",")
			got = append(got, s.compute().String()+" on "+where)
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: %v, want %s", dtype, got, want)
		}
		m := e.Machine()
		if m.Device != "NVIDIA L40S, Tesla T4" || m.Provider != "CUDA" || m.DType != nameOf(dtype) {
			t.Errorf("%+v", m)
		}
		c := e.capacity()
		if c.Free != turing.Free || c.Compute != dtype.Size() || (c.Text > 0) != (dtype == checkpoint.BF16) || c.Base != plan.CUDABase || c.Mapped {
			t.Errorf("%s: capacity %+v", dtype, c)
		}
	}
	if list := counted([]string{"A", "B", "A"}); list != "2 x A, B" {
		t.Errorf("counted: %q", list)
	}
}

// Cards that ONNX Runtime cannot use, here because it is its CPU build, are passed over if nobody asked for them.
func TestCardsWithoutCUDA(t *testing.T) {
	e := openEngine(t)
	found := func() gpu.Found { return gpu.Found{Driver: "580", Cards: []gpu.Card{ampere, turing}} }
	none := func() gpu.Found { return gpu.Found{Reason: fault.New("no_gpu", "", "no driver")} }
	for _, test := range []struct {
		label  string
		c      DeviceConfig
		find   func() gpu.Found
		code   string // of the fault; else the CPU computes
		logged string
	}{
		{"auto, cards", DeviceConfig{GPUs: gpu.Auto}, found, "", "this ONNX Runtime cannot use them"},
		{"auto, no cards", DeviceConfig{}, none, "", ""},
		{"none, cards", DeviceConfig{GPUs: gpu.None}, func() gpu.Found { t.Error("cards were looked for"); return found() }, "", ""},
		{"asked for, cards", DeviceConfig{GPUs: "1"}, found, "cuda_missing", ""},
		{"asked for, no cards", DeviceConfig{GPUs: "0"}, none, "no_gpu", ""},
		{"wrong type", DeviceConfig{GPUs: "1", DType: BF16}, found, "invalid_setting", ""},
	} {
		var log bytes.Buffer
		devices, err := openDevices(test.c, test.find, e.rt, zerolog.New(&log).Level(zerolog.InfoLevel))
		if (err == nil) != (test.code == "") || err != nil && fault.CodeOf(err) != test.code {
			t.Errorf("%s: %v, want %q", test.label, err, test.code)
		}
		if err == nil && (len(devices) != 1 || devices[0].String() != "CPU" || !devices[0].mapped) {
			t.Errorf("%s: %v", test.label, devices)
		}
		if !strings.Contains(log.String(), test.logged) || (log.Len() > 0) != (test.logged != "") {
			t.Errorf("%s: the log says %s", test.label, log.String())
		}
	}
	if m := e.Machine(); m.Device != "CPU" || m.Provider != "CPU" || m.DType != FP32 || m.Driver != "" {
		t.Errorf("%+v", m)
	}
}
