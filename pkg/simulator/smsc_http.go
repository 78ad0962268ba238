package simulator

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // what the platform's signature is made of
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// HTTP interfaces of the kind that operators and clouds have. Each believes a request only if its signature is right.
func (c *centre) clouds(mux *http.ServeMux) {
	mux.HandleFunc("POST /sms/norsubmit", c.masSubmit)
	mux.HandleFunc("POST /sms/report", c.masReport)
	mux.HandleFunc("POST /{$}", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxOrder))
		switch {
		case err != nil:
			refuse(w, http.StatusBadRequest, err)
		case r.Header.Get("X-Acs-Action") != "":
			c.aliyun(w, r, body)
		case r.Header.Get("X-Tc-Action") != "":
			c.tencent(w, r, body)
		default:
			notFound(w, r)
		}
	})
}

// takeHTTP takes a message of which is told when it is asked for.
func (c *centre) takeHTTP(number string, mode Mode) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken++
	c.ids++
	m := smscMessage{id: c.ids, number: number, stat: "DELIVRD", at: time.Now()}
	switch mode {
	case Undeliverable:
		m.stat = "UNDELIV"
	case ReportMissing:
		m.stat = ""
	}
	if len(c.asked) >= smscHeldMost {
		clear(c.asked)
	}
	id := strconv.FormatUint(m.id, 10)
	c.asked[id] = m
	return id
}

// fate is empty while the message is under way.
func (c *centre) fate(id string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.asked[id]
	if time.Since(m.at) < smscReportTime {
		return ""
	}
	return m.stat
}

// masSubmit is 云MAS: base64 of JSON, signed by a digest over all of its fields and the secret key.
func (c *centre) masSubmit(w http.ResponseWriter, r *http.Request) {
	var m struct {
		ECName    string `json:"ecName"`
		APID      string `json:"apId"`
		SecretKey string `json:"secretKey"`
		Mobiles   string `json:"mobiles"`
		Content   string `json:"content"`
		Sign      string `json:"sign"`
		AddSerial string `json:"addSerial"`
		MAC       string `json:"mac"`
	}
	body, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, http.MaxBytesReader(w, r.Body, maxOrder)))
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	sum := md5.Sum([]byte(m.ECName + m.APID + SMSPassword + m.Mobiles + m.Content + m.Sign + m.AddSerial))
	say := func(code, group string) {
		writeJSON(w, http.StatusOK, map[string]any{"msgGroup": group, "rspcod": code, "success": code == "success"})
	}
	switch mode := modeOf(r); {
	case err != nil:
		say("InvalidMessage", "")
	case mode != AnySignature && !strings.EqualFold(m.MAC, hex.EncodeToString(sum[:])):
		say("IllegalMac", "")
	case mode == SubmitRefused:
		say("InvalidUsrOrPwd", "")
	case mode == Throttled:
		say("TooManyRequests", "")
	default:
		say("success", c.takeHTTP(m.Mobiles, mode))
	}
}

// masReport tells of the messages whose fate is known.
func (c *centre) masReport(w http.ResponseWriter, _ *http.Request) {
	out := []map[string]string{}
	c.mu.Lock()
	for id, m := range c.asked {
		if m.stat != "" && time.Since(m.at) >= smscReportTime {
			out = append(out, map[string]string{"msgGroup": id, "mobile": m.number, "errorCode": m.stat})
		}
	}
	c.mu.Unlock()
	writeJSON(w, http.StatusOK, out)
}

func sumHex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// signature is the last part of an Authorization header.
func signature(r *http.Request) string {
	_, s, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
	return s
}

// aliyun is the interface of Alibaba Cloud with its third signature (ACS3-HMAC-SHA256).
func (c *centre) aliyun(w http.ResponseWriter, r *http.Request, body []byte) {
	const signed = "host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version"
	canonical := r.Method + "\n/\n" + r.URL.RawQuery + "\n"
	for _, name := range strings.Split(signed, ";") {
		value := r.Header.Get(name)
		if name == "host" {
			value = r.Host
		}
		canonical += name + ":" + value + "\n"
	}
	canonical += "\n" + signed + "\n" + sumHex(body)
	want := hex.EncodeToString(mac([]byte(SMSPassword), "ACS3-HMAC-SHA256\n"+sumHex([]byte(canonical))))
	say := func(code string, more map[string]any) {
		out := map[string]any{"Code": code, "Message": code, "RequestId": "demo"}
		for k, v := range more {
			out[k] = v
		}
		writeJSON(w, http.StatusOK, out)
	}
	q := r.URL.Query()
	switch mode := modeOf(r); {
	case mode != AnySignature && signature(r) != want:
		say("SignatureDoesNotMatch", nil)
	case r.Header.Get("X-Acs-Action") == "QuerySendDetails":
		status := map[string]int{"": 1, "DELIVRD": 3}[c.fate(q.Get("BizId"))]
		if status == 0 {
			status = 2
		}
		say("OK", map[string]any{"SmsSendDetailDTOs": map[string]any{"SmsSendDetailDTO": []any{map[string]any{"SendStatus": status, "PhoneNum": q.Get("PhoneNumber")}}}})
	case mode == SubmitRefused:
		say("isv.AMOUNT_NOT_ENOUGH", nil)
	case mode == Throttled:
		say("isv.BUSINESS_LIMIT_CONTROL", nil)
	default:
		say("OK", map[string]any{"BizId": c.takeHTTP(q.Get("PhoneNumbers"), mode)})
	}
}

// tencent is the interface of Tencent Cloud (TC3-HMAC-SHA256).
func (c *centre) tencent(w http.ResponseWriter, r *http.Request, body []byte) {
	seconds, _ := strconv.ParseInt(r.Header.Get("X-Tc-Timestamp"), 10, 64) // 0 signs nothing that holds
	date := time.Unix(seconds, 0).UTC().Format(time.DateOnly)
	canonical := "POST\n/\n\ncontent-type:" + r.Header.Get("Content-Type") + "\nhost:" + r.Host + "\n\ncontent-type;host\n" + sumHex(body)
	key := mac(mac(mac([]byte("TC3"+SMSPassword), date), "sms"), "tc3_request")
	want := hex.EncodeToString(mac(key, fmt.Sprintf("TC3-HMAC-SHA256\n%d\n%s/sms/tc3_request\n%s", seconds, date, sumHex([]byte(canonical)))))
	say := func(answer map[string]any) { writeJSON(w, http.StatusOK, map[string]any{"Response": answer}) }
	var m struct {
		PhoneNumberSet []string
		PhoneNumber    string
	}
	_ = json.Unmarshal(body, &m) // what cannot be read has no number
	status := func(code, id string) {
		say(map[string]any{"SendStatusSet": []any{map[string]any{"Code": code, "SerialNo": id, "PhoneNumber": strings.Join(m.PhoneNumberSet, ",")}}})
	}
	switch mode := modeOf(r); {
	case mode != AnySignature && signature(r) != want || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute:
		say(map[string]any{"Error": map[string]string{"Code": "AuthFailure.SignatureFailure"}})
	case r.Header.Get("X-Tc-Action") == "PullSmsSendStatusByPhoneNumber":
		say(map[string]any{"PullSmsSendStatusSet": c.pulled(m.PhoneNumber)})
	case mode == SubmitRefused:
		status("FailedOperation.InsufficientBalanceInSmsPackage", "")
	case mode == Throttled:
		status("LimitExceeded.PhoneNumberThirtySecondLimit", "")
	default:
		status("Ok", c.takeHTTP(strings.Join(m.PhoneNumberSet, ","), mode))
	}
}

func (c *centre) pulled(number string) []any {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := []any{}
	for id, m := range c.asked {
		if m.number == number && m.stat != "" && time.Since(m.at) >= smscReportTime {
			out = append(out, map[string]string{"SerialNo": id, "ReportStatus": map[bool]string{true: "SUCCESS", false: "FAIL"}[m.stat == "DELIVRD"], "Description": m.stat})
		}
	}
	return out
}
