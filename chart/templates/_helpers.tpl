{{- define "elector.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 41 bytes: the label with a StatefulSet's revision holds NAME-witness and eleven more, and has 63 at most. */}}
{{- define "elector.fullname" -}}
{{- $name := include "elector.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 41 | trimSuffix "-" -}}
{{- end -}}

{{/* The headless Service: members find each other by it. */}}
{{- define "elector.members" -}}{{ include "elector.fullname" . }}-members{{- end -}}

{{/* What all members have in common, and nothing else has. */}}
{{- define "elector.memberLabels" -}}
app.kubernetes.io/name: {{ include "elector.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "elector.labels" -}}
{{ include "elector.memberLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of a pod. Without chart and version: an upgrade that changes nothing else restarts nothing. */}}
{{- define "elector.podLabels" -}}
{{ include "elector.memberLabels" . }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- with .Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "elector.image" -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag }}{{- end -}}
{{- end -}}

{{- define "elector.ownImage" -}}
{{- $image := .Values.image -}}
{{- include "elector.image" (dict "repository" $image.repository "digest" $image.digest "tag" (default .Chart.AppVersion $image.tag)) -}}
{{- end -}}

{{- define "elector.serviceAccount" -}}
{{- $default := ternary (include "elector.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $default .Values.serviceAccount.name -}}
{{- end -}}

{{/* Secret with the shared token; empty: there is none. */}}
{{- define "elector.tokenSecret" -}}
{{- $own := ternary (printf "%s-token" (include "elector.fullname" .)) "" (eq .Values.tls.mode "disabled") -}}
{{- default $own .Values.raft.token.existingSecret -}}
{{- end -}}

{{/* Secret with the certificates of the Raft port; empty: no TLS. */}}
{{- define "elector.tlsSecret" -}}
{{- if eq .Values.tls.mode "existingSecret" -}}
{{- required "tls.mode existingSecret needs tls.existingSecret.name" .Values.tls.existingSecret.name -}}
{{- else if ne .Values.tls.mode "disabled" -}}
{{- include "elector.fullname" . }}-raft-tls
{{- end -}}
{{- end -}}

{{/* The name in the certificate of every member. */}}
{{- define "elector.wildcard" -}}
*.{{ include "elector.members" . }}.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
{{- end -}}

{{/* Pod Security "restricted", for each container. */}}
{{- define "elector.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{/* Number of voters once all are there. */}}
{{- define "elector.voters" -}}
{{- add .Values.replicaCount (ternary 1 0 .Values.witness.enabled) -}}
{{- end -}}
