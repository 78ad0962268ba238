package host

import (
	"context"
	"errors"
	"time"

	"github.com/shirou/gopsutil/v3/net"

	"xunjian/pkg/metric"
)

var networkNames = []string{
	"node_network_receive_bytes_total", "node_network_receive_packets_total", "node_network_receive_errs_total",
	"node_network_receive_drop_total", "node_network_receive_fifo_total",
	"node_network_transmit_bytes_total", "node_network_transmit_packets_total", "node_network_transmit_errs_total",
	"node_network_transmit_drop_total", "node_network_transmit_fifo_total",
}

type network struct{ devices }

func newNetwork() *network { return &network{newDevices(networkNames)} }

// collect keeps the kernel's order of interfaces, which is that of their making: real ones before those of containers.
func (n *network) collect(ctx context.Context, _ time.Time, dst []metric.Sample) ([]metric.Sample, int, error) {
	counters, err := net.IOCountersWithContext(ctx, true)
	if err != nil {
		return nil, 0, err
	}
	if len(counters) == 0 {
		return nil, 0, errors.New("read net/dev: no interfaces")
	}
	keep := min(len(counters), maxDevices)
	for i := range counters[:keep] {
		c := &counters[i]
		dst = n.add(dst, c.Name,
			float64(c.BytesRecv), float64(c.PacketsRecv), float64(c.Errin), float64(c.Dropin), float64(c.Fifoin),
			float64(c.BytesSent), float64(c.PacketsSent), float64(c.Errout), float64(c.Dropout), float64(c.Fifoout))
	}
	return dst, (len(counters) - keep) * len(networkNames), nil
}
