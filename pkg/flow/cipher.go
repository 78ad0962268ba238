package flow

import (
	"bytes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // of OAEP as pages use it
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm4"
	"github.com/emmansun/gmsm/smx509"
)

// maxCipher bounds what is encrypted for a login: passwords, not documents.
const maxCipher = 64 << 10

// sm2Encrypt encrypts as login pages do in the browser: hex of a point that is not compressed, in the order C1C3C2 (or
// C1C2C3), which begins with 04. Pages made with sm-crypto leave the 04 to whoever sends: give prefix "" for theirs.
func sm2Encrypt(v []string) (string, error) {
	key, err := sm2Key(v[0])
	if err != nil {
		return "", err
	}
	order, prefix := sm2.C1C3C2, "04"
	if len(v) > 2 {
		switch strings.ToLower(v[2]) {
		case "c1c3c2", "1":
		case "c1c2c3", "0":
			order = sm2.C1C2C3
		default:
			return "", fmt.Errorf("mode %q: want c1c3c2 or c1c2c3", shown(v[2]))
		}
	}
	if len(v) > 3 {
		prefix = v[3]
	}
	if len(v[1]) == 0 || len(v[1]) > maxCipher {
		return "", fmt.Errorf("%d bytes to encrypt: want 1 to %d", len(v[1]), maxCipher)
	}
	out, err := sm2.Encrypt(rand.Reader, key, []byte(v[1]), sm2.NewPlainEncrypterOpts(sm2.MarshalUncompressed, order))
	if err != nil {
		return "", err
	}
	return prefix + hex.EncodeToString(out[1:]), nil
}

// sm2Key reads a public key: a point in hex, with or without its 04, or a key in PEM or base64.
func sm2Key(s string) (*ecdsa.PublicKey, error) {
	s = strings.TrimSpace(s)
	if point, err := hex.DecodeString(s); err == nil {
		if len(point) == 64 {
			point = append([]byte{4}, point...)
		}
		key, err := sm2.NewPublicKey(point)
		if err != nil {
			return nil, errors.New("the public key is no point of the SM2 curve")
		}
		return key, nil
	}
	der, err := derOf(s)
	if err != nil {
		return nil, err
	}
	parsed, err := smx509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, errors.New("the public key cannot be read")
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok || key.Curve != sm2.P256() {
		return nil, errors.New("the public key is none of SM2")
	}
	return key, nil
}

// derOf takes PEM, or its base64 alone.
func derOf(s string) ([]byte, error) {
	if block, _ := pem.Decode([]byte(s)); block != nil {
		return block.Bytes, nil
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		return nil, errors.New("the public key is neither hex nor PEM nor base64")
	}
	return der, nil
}

// sm4Encrypt pads as PKCS#7.
func sm4Encrypt(v []string) (string, error) {
	key, err := hex.DecodeString(v[0])
	if err != nil || len(key) != sm4.BlockSize {
		return "", errors.New("key: want 32 hex digits")
	}
	if len(v[1]) > maxCipher {
		return "", fmt.Errorf("%d bytes to encrypt: want at most %d", len(v[1]), maxCipher)
	}
	block, err := sm4.NewCipher(key)
	if err != nil {
		return "", err
	}
	pad := sm4.BlockSize - len(v[1])%sm4.BlockSize
	b := append([]byte(v[1]), bytes.Repeat([]byte{byte(pad)}, pad)...)
	mode := "ecb"
	if len(v) > 2 {
		mode = v[2]
	}
	switch {
	case mode == "ecb" && len(v) < 4:
		for i := 0; i < len(b); i += sm4.BlockSize {
			block.Encrypt(b[i:], b[i:])
		}
	case mode == "cbc" && len(v) == 4:
		iv, err := hex.DecodeString(v[3])
		if err != nil || len(iv) != sm4.BlockSize {
			return "", errors.New("iv: want 32 hex digits")
		}
		cipher.NewCBCEncrypter(block, iv).CryptBlocks(b, b)
	default:
		return "", fmt.Errorf("mode %q: want ecb, or cbc with an iv", shown(mode))
	}
	return hex.EncodeToString(b), nil
}

// rsaEncrypt gives base64, as JSEncrypt does.
func rsaEncrypt(v []string) (string, error) {
	der, err := derOf(v[0])
	if err != nil {
		return "", err
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		if parsed, err = x509.ParsePKCS1PublicKey(der); err != nil {
			return "", errors.New("the public key cannot be read")
		}
	}
	key, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return "", errors.New("the public key is none of RSA")
	}
	var out []byte
	switch {
	case len(v) < 3 || v[2] == "pkcs1":
		out, err = rsa.EncryptPKCS1v15(rand.Reader, key, []byte(v[1])) //nolint:staticcheck // what the pages do
	case v[2] == "oaep":
		out, err = rsa.EncryptOAEP(sha1.New(), rand.Reader, key, []byte(v[1]), nil) //nolint:gosec // the same
	default:
		return "", fmt.Errorf("padding %q: want pkcs1 or oaep", shown(v[2]))
	}
	return base64.StdEncoding.EncodeToString(out), err
}
