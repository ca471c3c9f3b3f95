package gpu

import (
	"strconv"
	"strings"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// visibleDevices lists the devices in the order in which CUDA numbers them. CUDA reads CUDA_VISIBLE_DEVICES (limited) as a
// list of numbers, of UUIDs or of their beginnings, from left to right, up to the first that it does not know: the cards
// behind it do not exist for the process.
func visibleDevices(d driver, visible string, limited bool) ([]device, error) {
	count, err := d.count()
	if err != nil {
		return nil, fault.New("no_gpu", "", "the driver does not tell its cards").Because(err)
	}
	all := make([]device, count)
	for i := range all {
		if all[i], err = d.device(i); err != nil {
			return nil, fault.New("no_gpu", "", "the driver does not give access to GPU %d", i).Because(err)
		}
	}
	if !limited {
		return all, nil
	}
	var chosen []device
	for name := range strings.SplitSeq(visible, ",") {
		name = strings.TrimSpace(name)
		card := named(d, all, name)
		if card == nil {
			return chosen, fault.New("no_gpu", "CUDA_VISIBLE_DEVICES", "%q is no card of this machine, so CUDA shows this process only the %d before it; correct the variable, or unset it", name, len(chosen))
		}
		chosen = append(chosen, card)
	}
	return chosen, nil
}

// named is the device of a number, a UUID or the beginning of one; nil if there is none.
func named(d driver, all []device, name string) device {
	if i, err := strconv.Atoi(name); err == nil {
		if i < 0 || i >= len(all) {
			return nil
		}
		return all[i]
	}
	if strings.HasPrefix(name, "MIG-") {
		if slice, err := d.named(name); err == nil {
			return slice
		}
		return nil
	}
	for _, card := range all {
		if uuid, err := card.uuid(); err == nil && strings.HasPrefix(name, "GPU-") && strings.HasPrefix(uuid, name) {
			return card
		}
	}
	return nil
}
