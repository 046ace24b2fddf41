"""Escreve o que se gera na página dos passos: os diffs e, com `--conferir`, as regras que passam a valer.

    python docs/passos/pagina.py              depois de mexer num passo
    python docs/passos/pagina.py --conferir   também roda o conferidor em cada um (um ou dois minutos)

O que se gera fica entre `<!-- diff 3 -->`, ou `<!-- regras 3 -->`, e o comentário seguinte. O resto se escreve à mão.
"""

import difflib
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PASTA = Path(__file__).resolve().parent
sys.path.insert(0, str(PASTA.parent))

from conferidor import palco  # noqa: E402
from conferidor.regras import SERVIDOR  # noqa: E402

PAGINA = PASTA / "README.md"
PASSOS = range(len(list(PASTA.glob("passo*.py"))))
NIVEL = 5
"""O nível mais alto que se confere: o seguinte é o das extensões, que os passos não têm."""


def conferir(passo: int, regras: str = "", prazo: float = 3.0) -> dict[str, bool]:
    """Roda o conferidor num passo, e diz de cada regra se vale. `regras` são os começos dos nomes; vazio, todas."""
    alvo = palco.Alvo(f'"{sys.executable}" "{PASTA / f"passo{passo}.py"}" --porta {{porta}}', prazo=prazo)
    pedidas = SERVIDOR.escolher(NIVEL, filter(None, regras.split(",")))
    return {um.regra.id: um.falha is None for um in palco.conferir(pedidas, alvo)}


def conferir_todos() -> list[dict[str, bool]]:
    """As notas de cada passo. Os primeiros passos demoram a fechar, e por isso todos ao mesmo tempo."""
    with ThreadPoolExecutor(2) as todos:
        return list(todos.map(conferir, PASSOS))


def diff(passo: int) -> str:
    """O que mudou no código desde o passo anterior: cada trecho com o nome da função em que está."""
    antes, depois = map(codigo, (passo - 1, passo))
    linhas = []
    for o_que, de, ate, de_novo, ate_novo in difflib.SequenceMatcher(None, antes, depois).get_opcodes():
        if o_que != "equal":
            saem, entram = antes[de:ate], depois[de_novo:ate_novo]
            linhas.append(f"@@ {funcao(antes[:de], (saem + entram)[0])}".rstrip())
            linhas += [f"-{linha}" for linha in saem] + [f"+{linha}" for linha in entram]
    return "\n".join(["```diff", *linhas, "```"])


def codigo(passo: int) -> list[str]:
    """As linhas de um passo, sem as em branco, as docstrings e os comentários."""
    programa = (PASTA / f"passo{passo}.py").read_text(encoding="utf-8")
    return re.sub(r'^ *(""".*""")?\n|  # .*', "", programa, flags=re.MULTILINE).splitlines()


def funcao(antes: Sequence[str], primeira: str) -> str:
    """O nome da função em que está o trecho que vem depois destas linhas; vazio se em nenhuma, ou se ele a mostra."""
    comecos = r" *(?:def|class) (\w+)|\w|(?= *@)"
    abrem = [comeco for linha in (*antes, primeira) if (comeco := re.match(comecos, linha))]
    return (abrem[-1][1] or "") if abrem and not re.match(comecos, primeira) else ""


def regras(passo: int, notas: Sequence[dict[str, bool]]) -> str:
    """As regras que passam, e as que deixam, de valer num passo; vazio se são as do anterior."""
    valem = [{regra for regra, passou in nota.items() if passou} for nota in [{}, *notas]]
    antes, agora = valem[passo], valem[passo + 1]
    linhas = []
    for frase, quais in ("passam a valer", agora - antes), ("deixam de valer", antes - agora):
        if quais:
            nomes = ", ".join(f"`{regra}`" for regra in notas[passo] if regra in quais)
            linhas += textwrap.wrap(f"Regras que {frase} ({len(quais)}): {nomes}.", 120, break_on_hyphens=False)
    return "\n".join(linhas)


def tabela(notas: Sequence[dict[str, bool]]) -> str:
    """Uma linha por passo: o que ele diz de si, quantas linhas tem, quantas regras valem."""
    linhas = [f"| passo | o que muda | linhas | regras, de {len(notas[0])} |", "| --- | --- | ---: | ---: |"]
    for passo in PASSOS:
        programa = (PASTA / f"passo{passo}.py").read_text(encoding="utf-8").splitlines()
        resumo = re.fullmatch(r'"""Passo \d: (.*)\."""', programa[0])[1].replace(r"\\n", r"\n")
        ligacao = f"[`passo{passo}.py`](passo{passo}.py)"
        linhas.append(f"| {ligacao} | {resumo} | {len(programa)} | {sum(notas[passo].values())} |")
    return "\n".join(linhas)


def trocar(pagina: str, bloco: str, gerar: Callable[[int], str]) -> str:
    """A página com cada bloco deste nome gerado de novo."""
    return re.sub(
        rf"(<!-- {bloco} (\d) -->\n).*?(?=<!-- )",
        lambda achado: f"{achado[1]}\n{gerar(int(achado[2]))}\n\n",
        pagina,
        flags=re.DOTALL,
    )


def com_os_diffs(pagina: str) -> str:
    return trocar(pagina, "diff", diff)


def com_as_regras(pagina: str, notas: Sequence[dict[str, bool]]) -> str:
    pagina = trocar(pagina, "tabela", lambda _: tabela(notas))
    return trocar(pagina, "regras", lambda passo: regras(passo, notas))


def main() -> None:
    pagina = com_os_diffs(PAGINA.read_text(encoding="utf-8"))
    if sys.argv[1:] == ["--conferir"]:
        pagina = com_as_regras(pagina, conferir_todos())
    PAGINA.write_text(pagina, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
