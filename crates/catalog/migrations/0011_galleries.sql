-- Consumers look for galleries wherever they lie: few rows among many.
CREATE INDEX galleries ON resources (key) WHERE kind = 'Microsoft.Compute/galleries';
