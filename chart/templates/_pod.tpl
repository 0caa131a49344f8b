{{/* What the pods of replicas and of the witness have in common. */}}
{{- define "elector.pod" -}}
serviceAccountName: {{ include "elector.serviceAccount" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  seccompProfile: { type: RuntimeDefault }
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- if .Values.affinity }}
affinity: {{- toYaml .Values.affinity | nindent 2 }}
{{- else if ne .Values.podAntiAffinity "none" }}
affinity:
  podAntiAffinity:
    {{- if eq .Values.podAntiAffinity "hard" }}
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels: {{- include "elector.memberLabels" . | nindent 12 }}
    {{- else }}
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels: {{- include "elector.memberLabels" . | nindent 14 }}
    {{- end }}
{{- end }}
{{- if .Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- $members := dict "labelSelector" (dict "matchLabels" (include "elector.memberLabels" . | fromYaml)) }}
  {{- range .Values.topologySpreadConstraints }}
  - {{ mergeOverwrite (deepCopy $members) . | toYaml | nindent 4 | trim }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The sidecar's container but for its arguments, mounts and resources. */}}
{{- define "elector.container" -}}
image: {{ include "elector.ownImage" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
ports:
  - { name: elector, containerPort: 9095 }
  - { name: raft, containerPort: 9096 }
env:
  - name: POD_NAME
    valueFrom: { fieldRef: { fieldPath: metadata.name } }
  - name: POD_NAMESPACE
    valueFrom: { fieldRef: { fieldPath: metadata.namespace } }
  {{- with .Values.elector.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
# Latched: true once this member is a caught-up voter, whoever leads.
readinessProbe:
  httpGet: { path: /_elector/readyz, port: elector, scheme: {{ .Values.elector.webConfig.scheme }} }
  periodSeconds: 5
# Only that the event loop answers.
livenessProbe:
  httpGet: { path: /_elector/livez, port: elector, scheme: {{ .Values.elector.webConfig.scheme }} }
  failureThreshold: 6
securityContext: {{- include "elector.restricted" . | nindent 2 }}
{{- end -}}

{{/* Arguments that every member has. */}}
{{- define "elector.memberArguments" -}}
- -raft-data-dir=/var/lib/prometheus-elector/raft
- -raft-bootstrap-expect={{ .Values.bootstrapExpect }}
- -lease-duration={{ .Values.elector.lease.duration }}
- -lease-renew-deadline={{ .Values.elector.lease.renewDeadline }}
- -lease-retry-period={{ .Values.elector.lease.retryPeriod }}
- -api-shutdown-grace-delay={{ .Values.elector.shutdownGraceDelay }}
- -log-level={{ .Values.elector.logLevel }}
{{- if include "elector.tokenSecret" . }}
- -raft-token-file=/etc/prometheus-elector/token/token
{{- end }}
{{- if include "elector.tlsSecret" . }}
- -raft-tls-ca-file=/etc/prometheus-elector/raft-tls/ca.crt
- -raft-tls-cert-file=/etc/prometheus-elector/raft-tls/tls.crt
- -raft-tls-key-file=/etc/prometheus-elector/raft-tls/tls.key
- -raft-tls-mode={{ .Values.tls.clients }}
{{- end }}
{{- if .Values.elector.webConfig.existingSecret }}
- -api-web-config-file=/etc/prometheus-elector/web/{{ .Values.elector.webConfig.key }}
{{- end }}
{{- if .Values.elector.proxy }}
- -api-proxy-enabled
- -api-proxy-prometheus-service-name={{ include "elector.members" . }}
{{- end }}
{{- if .Values.podLeaderLabel.enabled }}
- -pod-leader-label
{{- end }}
{{- end -}}

{{/* Mounts and volumes that every member has. */}}
{{- define "elector.memberMounts" -}}
- { name: raft, mountPath: /var/lib/prometheus-elector }
{{- if include "elector.tokenSecret" . }}
- { name: token, mountPath: /etc/prometheus-elector/token, readOnly: true }
{{- end }}
{{- if include "elector.tlsSecret" . }}
- { name: raft-tls, mountPath: /etc/prometheus-elector/raft-tls, readOnly: true }
{{- end }}
{{- if .Values.elector.webConfig.existingSecret }}
- { name: web, mountPath: /etc/prometheus-elector/web, readOnly: true }
{{- end }}
{{- if .Values.podLeaderLabel.enabled }}
- { name: kubernetes-api, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true }
{{- end }}
{{- end -}}

{{- define "elector.memberVolumes" -}}
{{- with include "elector.tokenSecret" . }}
- name: token
  secret: { secretName: {{ . }}, defaultMode: 0440, items: [{ key: {{ $.Values.raft.token.key }}, path: token }] }
{{- end }}
{{- with include "elector.tlsSecret" . }}
- name: raft-tls
  secret: { secretName: {{ . }}, defaultMode: 0440 }
{{- end }}
{{- with .Values.elector.webConfig.existingSecret }}
- name: web
  secret: { secretName: {{ . }}, defaultMode: 0440 }
{{- end }}
{{- if eq .Values.raft.storage.type "emptyDir" }}
- name: raft
  emptyDir: {}
{{- end }}
{{- end -}}

{{/* A token of the service account, for the containers that mount it. */}}
{{- define "elector.apiVolume" -}}
- name: kubernetes-api
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken: { path: token, expirationSeconds: 3600 }
      - configMap: { name: kube-root-ca.crt, items: [{ key: ca.crt, path: ca.crt }] }
      - downwardAPI: { items: [{ path: namespace, fieldRef: { fieldPath: metadata.namespace } }] }
{{- end -}}

{{/* A claim template: (dict "name" … "storage" … "size" …). */}}
{{- define "elector.claim" -}}
- metadata: { name: {{ .name }} }
  spec:
    accessModes: [ReadWriteOnce]
    {{- with .storage.storageClassName }}
    storageClassName: {{ . }}
    {{- end }}
    resources: { requests: { storage: {{ .size }} } }
{{- end -}}
