package metric

import "slices"

// Type is a metric's type as Prometheus' exposition names it.
type Type string

// The types in use.
const (
	Counter   Type = "counter"
	Gauge     Type = "gauge"
	Histogram Type = "histogram"
)

// Desc describes a metric name.
type Desc struct {
	Type Type
	Help string
}

// The series that say whether a check, or a step of one, was well: 1 or 0, none where it could not run.
const (
	ProbeSuccess = "probe_success"
	StepSuccess  = "xunjian_probe_step_success"
)

// Describe is what the catalogue says of a name; unknown names are gauges without help.
func Describe(name string) (Desc, bool) {
	d, ok := catalogue[name]
	if !ok {
		d = Desc{Type: Gauge}
	}
	return d, ok
}

// Names lists the catalogue in order.
func Names() []string {
	out := make([]string, 0, len(catalogue))
	for n := range catalogue {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// catalogue holds every name that agents write: those of node_exporter and blackbox_exporter with their own type and help,
// so that dashboards and rules made for them need no change, and xunjian_… for what neither has.
var catalogue = map[string]Desc{
	"node_cpu_seconds_total": {Counter, "Seconds the CPUs spent in each mode."},

	"node_load1":  {Gauge, "1m load average."},
	"node_load5":  {Gauge, "5m load average."},
	"node_load15": {Gauge, "15m load average."},

	"node_memory_Active_bytes":        memory("Active_bytes"),
	"node_memory_AnonHugePages_bytes": memory("AnonHugePages_bytes"),
	"node_memory_Buffers_bytes":       memory("Buffers_bytes"),
	"node_memory_Cached_bytes":        memory("Cached_bytes"),
	"node_memory_CommitLimit_bytes":   memory("CommitLimit_bytes"),
	"node_memory_Committed_AS_bytes":  memory("Committed_AS_bytes"),
	"node_memory_Dirty_bytes":         memory("Dirty_bytes"),
	"node_memory_HugePages_Free":      memory("HugePages_Free"),
	"node_memory_HugePages_Rsvd":      memory("HugePages_Rsvd"),
	"node_memory_HugePages_Surp":      memory("HugePages_Surp"),
	"node_memory_HugePages_Total":     memory("HugePages_Total"),
	"node_memory_Hugepagesize_bytes":  memory("Hugepagesize_bytes"),
	"node_memory_Inactive_bytes":      memory("Inactive_bytes"),
	"node_memory_Mapped_bytes":        memory("Mapped_bytes"),
	"node_memory_MemAvailable_bytes":  memory("MemAvailable_bytes"),
	"node_memory_MemFree_bytes":       memory("MemFree_bytes"),
	"node_memory_MemTotal_bytes":      memory("MemTotal_bytes"),
	"node_memory_PageTables_bytes":    memory("PageTables_bytes"),
	"node_memory_SReclaimable_bytes":  memory("SReclaimable_bytes"),
	"node_memory_SUnreclaim_bytes":    memory("SUnreclaim_bytes"),
	"node_memory_Shmem_bytes":         memory("Shmem_bytes"),
	"node_memory_Slab_bytes":          memory("Slab_bytes"),
	"node_memory_SwapCached_bytes":    memory("SwapCached_bytes"),
	"node_memory_SwapFree_bytes":      memory("SwapFree_bytes"),
	"node_memory_SwapTotal_bytes":     memory("SwapTotal_bytes"),
	"node_memory_VmallocChunk_bytes":  memory("VmallocChunk_bytes"),
	"node_memory_VmallocTotal_bytes":  memory("VmallocTotal_bytes"),
	"node_memory_VmallocUsed_bytes":   memory("VmallocUsed_bytes"),
	"node_memory_WritebackTmp_bytes":  memory("WritebackTmp_bytes"),
	"node_memory_Writeback_bytes":     memory("Writeback_bytes"),

	"node_filesystem_avail_bytes":  {Gauge, "Filesystem space available to non-root users in bytes."},
	"node_filesystem_device_error": {Gauge, "Whether an error occurred while getting statistics for the given device."},
	"node_filesystem_files":        {Gauge, "Filesystem total file nodes."},
	"node_filesystem_files_free":   {Gauge, "Filesystem total free file nodes."},
	"node_filesystem_free_bytes":   {Gauge, "Filesystem free space in bytes."},
	"node_filesystem_readonly":     {Gauge, "Filesystem read-only status."},
	"node_filesystem_size_bytes":   {Gauge, "Filesystem size in bytes."},

	"node_disk_io_now":                         {Gauge, "The number of I/Os currently in progress."},
	"node_disk_io_time_seconds_total":          {Counter, "Total seconds spent doing I/Os."},
	"node_disk_io_time_weighted_seconds_total": {Counter, "The weighted # of seconds spent doing I/Os."},
	"node_disk_read_bytes_total":               {Counter, "The total number of bytes read successfully."},
	"node_disk_read_time_seconds_total":        {Counter, "The total number of seconds spent by all reads."},
	"node_disk_reads_completed_total":          {Counter, "The total number of reads completed successfully."},
	"node_disk_reads_merged_total":             {Counter, "The total number of reads merged."},
	"node_disk_write_time_seconds_total":       {Counter, "This is the total number of seconds spent by all writes."},
	"node_disk_writes_completed_total":         {Counter, "The total number of writes completed successfully."},
	"node_disk_writes_merged_total":            {Counter, "The number of writes merged."},
	"node_disk_written_bytes_total":            {Counter, "The total number of bytes written successfully."},

	"node_network_receive_bytes_total":    network("receive_bytes"),
	"node_network_receive_drop_total":     network("receive_drop"),
	"node_network_receive_errs_total":     network("receive_errs"),
	"node_network_receive_fifo_total":     network("receive_fifo"),
	"node_network_receive_packets_total":  network("receive_packets"),
	"node_network_transmit_bytes_total":   network("transmit_bytes"),
	"node_network_transmit_drop_total":    network("transmit_drop"),
	"node_network_transmit_errs_total":    network("transmit_errs"),
	"node_network_transmit_fifo_total":    network("transmit_fifo"),
	"node_network_transmit_packets_total": network("transmit_packets"),

	"node_boot_time_seconds": {Gauge, "Node boot time, in unixtime."},
	"node_time_seconds":      {Gauge, "System time in seconds since epoch (1970)."},
	"node_filefd_allocated":  {Gauge, "File descriptor statistics: allocated."},
	"node_filefd_maximum":    {Gauge, "File descriptor statistics: maximum."},
	"node_uname_info":        {Gauge, "Labeled system information as provided by the uname system call."},

	"probe_dns_additional_rrs":                      {Gauge, "Returns number of entries in the additional resource record list"},
	"probe_dns_answer_rrs":                          {Gauge, "Returns number of entries in the answer resource record list"},
	"probe_dns_authority_rrs":                       {Gauge, "Returns number of entries in the authority resource record list"},
	"probe_dns_duration_seconds":                    {Gauge, "Duration of DNS request by phase"},
	"probe_dns_lookup_time_seconds":                 {Gauge, "Returns the time taken for probe dns lookup in seconds"},
	"probe_dns_query_succeeded":                     {Gauge, "Displays whether or not the query was executed successfully"},
	"probe_dns_serial":                              {Gauge, "Returns the serial number of the zone"},
	"probe_duration_seconds":                        {Gauge, "Returns how long the probe took to complete in seconds"},
	"probe_failed_due_to_regex":                     {Gauge, "Indicates if probe failed due to regex"},
	"probe_grpc_duration_seconds":                   {Gauge, "Duration of gRPC request by phase"},
	"probe_grpc_healthcheck_response":               {Gauge, "Response HealthCheck response"},
	"probe_grpc_ssl":                                {Gauge, "Indicates if SSL was used for the connection"},
	"probe_grpc_status_code":                        {Gauge, "Response gRPC status code"},
	"probe_http_content_length":                     {Gauge, "Length of http content response"},
	"probe_http_duration_seconds":                   {Gauge, "Duration of http request by phase, summed over all redirects"},
	"probe_http_last_modified_timestamp_seconds":    {Gauge, "Returns the Last-Modified HTTP response header in unixtime"},
	"probe_http_redirects":                          {Gauge, "The number of redirects"},
	"probe_http_ssl":                                {Gauge, "Indicates if SSL was used for the final redirect"},
	"probe_http_status_code":                        {Gauge, "Response HTTP status code"},
	"probe_http_uncompressed_body_length":           {Gauge, "Length of uncompressed response body"},
	"probe_http_version":                            {Gauge, "Returns the version of HTTP of the probe response"},
	"probe_icmp_duration_seconds":                   {Gauge, "Duration of icmp request by phase"},
	"probe_icmp_reply_hop_limit":                    {Gauge, "Replied packet hop limit (TTL for ipv4)"},
	"probe_ip_addr_hash":                            {Gauge, "Specifies the hash of IP address. It's useful to detect if the IP address changes."},
	"probe_ip_protocol":                             {Gauge, "Specifies whether probe ip protocol is IP4 or IP6"},
	"probe_ssl_earliest_cert_expiry":                {Gauge, "Returns last SSL chain expiry in unixtime"},
	"probe_ssl_last_chain_expiry_timestamp_seconds": {Gauge, "Returns last SSL chain expiry in timestamp"},
	"probe_tls_version_info":                        {Gauge, "Returns the TLS version used or NaN when unknown"},
	"xunjian_probe_tls_duration_seconds":            {Gauge, "Duration of a check of kind tls by phase."},
	"probe_success":                                 {Gauge, "Displays whether or not the probe was a success"},

	"xunjian_probe_seal_cert_expiry":      {Gauge, "End of the certificate that a signature service signs with, in unixtime."},
	"xunjian_probe_seal_expiry":           {Gauge, "End of the test seal in unixtime."},
	"xunjian_probe_seal_signatures_total": {Counter, "Test signatures and sealed test documents that this agent has had made since it started."},
	"xunjian_probe_tlcp_cert_expiry":      {Gauge, "End of a TLCP server's certificate in unixtime, by its usage: sign or enc."},
	"xunjian_probe_tlcp_suite_info":       {Gauge, "The cipher suite that a TLCP server chose, 1 or NaN."},

	"xunjian_probe_attempts": {Gauge, "How often the target was asked in this round: once, or again at once after a bad answer."},
	"xunjian_probe_failures": {Gauge, "How many of the round's askings failed."},
	"xunjian_probe_slow":     {Gauge, "Whether the answer was right but later than the check allows."},

	"xunjian_probe_step_success":          {Gauge, "Whether a step of the check held what it must, 1 or 0."},
	"xunjian_probe_step_slow":             {Gauge, "Whether a step of the check held, but later than it may."},
	"xunjian_probe_step_duration_seconds": {Gauge, "How long a step of the check took."},

	"xunjian_sms_balance": {Gauge, "Messages left on the account of a short message platform."},

	"xunjian_report_dropped_series": {Gauge, "Series of this report that the collector left out: more than its caps allow, or none."},

	"xunjian_agent_collector_duration_seconds": {Gauge, "How long the agent took to read this part of the host."},
	"xunjian_agent_collector_failures_total":   {Counter, "Readings of this part of the host that failed or came too late."},
	"xunjian_agent_collector_success":          {Gauge, "Whether the agent could read this part of the host."},
	"xunjian_agent_dropped_series":             {Gauge, "Series left out of this part of the reading because there are more than the cap."},
	"xunjian_agent_dropped_total":              {Counter, "Reports that the agent could not keep, by reason."},
	"xunjian_agent_missed_ticks_total":         {Counter, "Ticks of the grid at which nothing ran because the one before was still running."},
	"xunjian_agent_reconnects_total":           {Counter, "Connections to the collector made after the first."},
	"xunjian_agent_spool_bytes":                {Gauge, "Bytes of reports that wait on the agent's disk."},
}

func memory(field string) Desc { return Desc{Gauge, "Memory information field " + field + "."} }

func network(statistic string) Desc {
	return Desc{Counter, "Network device statistic " + statistic + "."}
}
