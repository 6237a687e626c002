/** Return the PSNR in dB of two images of bytes; infinite for the same ones. */
export function psnr(first: ArrayLike<number>, second: ArrayLike<number>): number {
  if (first.length !== second.length || first.length === 0) return Number.NaN;
  let sum = 0;
  for (let i = 0; i < first.length; i++) sum += (first[i] - second[i]) ** 2;
  return 10 * Math.log10((255 ** 2 * first.length) / sum);
}
