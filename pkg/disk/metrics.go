package disk

import "github.com/prometheus/client_golang/prometheus"

func newMetrics(reg prometheus.Registerer, w *Watch) {
	if reg == nil {
		return
	}
	gauge := func(name, help string, get func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, get))
	}
	gauge("xunjian_disk_free_bytes", "Room on the disk of the data folder, as those see it who are not root.", func() float64 { return float64(w.Space().Free) })
	gauge("xunjian_disk_size_bytes", "Size of the disk of the data folder, without what only root may use.", func() float64 { return float64(w.Space().Size) })
	gauge("xunjian_disk_reserve", "Whether the reserve for records is there; it is given up while the disk is nearly full.", func() float64 {
		w.mu.Lock()
		defer w.mu.Unlock()
		return map[bool]float64{true: 1}[w.kept]
	})
}
