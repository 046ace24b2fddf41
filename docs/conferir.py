"""Meu servidor passa? Confere, regra por regra, se um programa, em qualquer linguagem, segue `docs/protocolo.md`.

    python docs/conferir.py --comando "java Servidor {porta}"
    python docs/conferir.py --comando "python servidor.py --porta {porta}" --nivel 3 --so fila,fim --json notas.json
    python docs/conferir.py --programa "python meu_cliente.py --porta {porta}"
    python docs/conferir.py --turma entregas/ --csv notas.csv

A página do aluno é `docs/conferir.md`. Código 0 se todas as regras pedidas passaram, 1 se alguma falhou, 2 se o comando
foi escrito errado.
"""

import argparse
import codecs
import csv
import json
import os
import re
import signal
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from conferidor.dialogo import Falha
from conferidor.palco import Alvo, Palco, Regra, Resultado, com_servidor, conferir, conferir_uma
from conferidor.programa import PROGRAMA, Cena
from conferidor.regras import SERVIDOR

COMANDO_DO_ALUNO = "comando.txt"
"""O arquivo que cada pasta de `--turma` tem: na primeira linha, o comando que sobe o servidor."""


# --- O relato -------------------------------------------------------------------------------------


def relato(resultado: Resultado) -> Iterator[str]:
    """As linhas que contam uma falha: a regra, a fita do diálogo, o que se esperava, o que veio, o que estudar."""
    regra, falha = resultado.regra, resultado.falha
    yield f"FALHOU  {regra.id}  (nível {regra.nivel})"
    yield f"  {regra.frase}  ({regra.ligacao})"
    yield from (f"    {linha}" for linha in resultado.fita)
    yield f"  esperado: {_marcas_a_vista(falha.esperado)}"
    yield f"  veio:     {_marcas_a_vista(falha.veio)}"
    if resultado.depois and falha.veio not in resultado.depois:
        yield f"  depois:   {resultado.depois}"
    yield f"  dica:     {regra.dica}"
    yield ""


def _marcas_a_vista(texto: str) -> str:
    """Um acento solto, que na tela seria igual ao da letra já acentuada, aparece escrito."""
    return "".join(ascii(letra)[1:-1] if unicodedata.combining(letra) else letra for letra in texto)


def nivel_completo(resultados: Sequence[Resultado]) -> int:
    """O maior nível em que tudo passou, e em todos os anteriores; 0 se nem o primeiro."""
    falhos = [resultado.regra.nivel for resultado in resultados if resultado.falha]
    return min(falhos) - 1 if falhos else max((resultado.regra.nivel for resultado in resultados), default=0)


def resumo(resultados: Sequence[Resultado], niveis: bool = True) -> str:
    """`31 de 42 regras; nível 3 completo`; de umas regras escolhidas a dedo não se tira um nível."""
    passaram = sum(resultado.falha is None for resultado in resultados)
    frase, nivel = f"{passaram} de {len(resultados)} regras", nivel_completo(resultados)
    return frase + ("" if not niveis else f"; nível {nivel} completo" if nivel else "; nenhum nível completo")


def em_json(resultados: Sequence[Resultado]) -> dict:
    return {
        "passaram": sum(resultado.falha is None for resultado in resultados),
        "regras": len(resultados),
        "nivel": nivel_completo(resultados),
        "resultados": [
            {
                "regra": resultado.regra.id,
                "nivel": resultado.regra.nivel,
                "frase": resultado.regra.frase,
                "protocolo": resultado.regra.ligacao,
                "passou": resultado.falha is None,
                "esperado": resultado.falha.esperado if resultado.falha else None,
                "veio": resultado.falha.veio if resultado.falha else None,
                "depois": resultado.depois,
                "fita": list(resultado.fita),
                "dica": resultado.regra.dica,
            }
            for resultado in resultados
        ],
    }


# --- Um programa ----------------------------------------------------------------------------------


def conferir_o_que_sobe(
    regras: Sequence[Regra], alvo: Alvo, montar: Callable[[Alvo], Palco | Cena] = com_servidor
) -> Iterator[Resultado]:
    """Os resultados, pela ordem das regras; se o programa nem se conecta, ou ninguém a ele, nenhuma roda."""
    sobe = Regra("sobe", 0, "", "", "", lambda lugar: lugar.conecta())
    falha = conferir_uma(sobe, alvo, montar).falha
    if falha:  # dita uma vez, e não uma por regra
        return (Resultado(regra, falha) for regra in regras)
    return conferir(regras, alvo, montar)


def mostrar(resultados: Iterator[Resultado], niveis: bool) -> list[Resultado]:
    """Conta as falhas à medida que aparecem; a que se repete por inteiro, porque o programa nem sobe, uma vez só."""
    vistos: list[Resultado] = []
    for resultado in resultados:
        falha = resultado.falha
        if falha and not (vistos and falha is vistos[-1].falha):
            print("\n".join(relato(resultado)), flush=True)
        vistos.append(resultado)
    for nivel in sorted({resultado.regra.nivel for resultado in vistos}):
        deste = [resultado.falha is None for resultado in vistos if resultado.regra.nivel == nivel]
        print(f"nível {nivel}: {sum(deste)} de {len(deste)}")
    print(resumo(vistos, niveis))
    return vistos


# --- A turma --------------------------------------------------------------------------------------


def ler_comando(aluno: Path) -> str:
    """O comando que a pasta do aluno diz; `Falha` se não diz um que sirva."""
    try:
        escrito = (aluno / COMANDO_DO_ALUNO).read_bytes()
    except OSError:
        raise Falha("o comando do servidor", f"não há {COMANDO_DO_ALUNO}") from None
    # No Windows, o `echo ... > comando.txt` do PowerShell escreve em UTF-16.
    em_utf16 = escrito.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    comando = escrito.decode("utf-16" if em_utf16 else "utf-8-sig", "replace").strip().partition("\n")[0].strip()
    if "{porta}" not in comando:
        raise Falha("o comando do servidor, com {porta}", f"em {COMANDO_DO_ALUNO}, {comando!r}")
    return comando


def conferir_turma(pasta: Path, regras: Sequence[Regra], opcoes: argparse.Namespace) -> dict[str, list[Resultado]]:
    """Uma linha na tela por aluno; devolve os resultados de cada um."""
    turma: dict[str, list[Resultado]] = {}
    for aluno in sorted(filho for filho in pasta.iterdir() if filho.is_dir()):
        try:
            resultados = list(conferir_o_que_sobe(regras, Alvo(ler_comando(aluno), aluno, opcoes.prazo)))
        except Falha as falha:
            resultados = [Resultado(regra, falha) for regra in regras]
        turma[aluno.name] = resultados
        motivo = resultados[0].falha
        nem_sobe = f"; {motivo.veio}" if motivo and all(resultado.falha is motivo for resultado in resultados) else ""
        print(f"{aluno.name:<24} {resumo(resultados, not opcoes.so)}{nem_sobe}", flush=True)
    return turma


def gravar_csv(arquivo: Path, turma: dict[str, list[Resultado]]) -> None:
    """Uma linha por aluno: quantas regras, o nível, e uma coluna para cada regra (1 passou, 0 falhou)."""
    with arquivo.open("w", newline="", encoding="utf-8-sig") as saida:  # com BOM: sem ele o Excel erra os acentos
        planilha = csv.writer(saida)
        nomes = [resultado.regra.id for resultado in next(iter(turma.values()), [])]
        planilha.writerow(["aluno", "passaram", "regras", "nivel", *nomes])
        for aluno, resultados in turma.items():
            notas = [int(resultado.falha is None) for resultado in resultados]
            planilha.writerow([aluno, sum(notas), len(notas), nivel_completo(resultados), *notas])


# --- O comando ------------------------------------------------------------------------------------


class Analisador(argparse.ArgumentParser):
    """O `ArgumentParser` com os erros em português."""

    def error(self, message: str) -> NoReturn:
        message = re.sub(r"unrecognized arguments: (.*)", r"opção desconhecida: \1", message)
        message = re.sub(r"argument (\S+): expected one argument", r"a opção \1 precisa de um valor", message)
        message = re.sub(r"argument (\S+): invalid \w+ value: (.*)", r"a opção \1 não aceita \2", message)
        self.exit(2, f"conferir.py: {message}\nUse --ajuda para ver as opções.\n")


def ler_opcoes(argumentos: Sequence[str] | None = None) -> argparse.Namespace:
    analisador = Analisador(
        usage="python docs/conferir.py [opções]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    opcao = analisador.add_argument_group("opções").add_argument
    opcao("-h", "--ajuda", "--help", action="help", help="mostra esta ajuda")
    opcao("--comando", help="o que sobe o seu servidor; {porta} é a porta em que ele deve aceitar")
    opcao("--programa", help="o que lança o seu cliente ou atendente; {porta}, e {nome} se quiser")
    opcao("--turma", type=Path, help=f"pasta com uma subpasta por aluno, e nela {COMANDO_DO_ALUNO}")
    opcao("--regras", action="store_true", help="mostra as regras, e não confere nada")
    opcao("--nivel", type=int, help="só as regras até este nível (1 a 6)")
    opcao("--so", default="", help="só as regras que começam assim, separadas por vírgulas")
    opcao("--prazo", type=float, default=3.0, help="segundos de cada passo (padrão: 3)")
    opcao("--json", type=Path, help="grava os resultados neste arquivo")
    opcao("--csv", type=Path, help="com --turma, grava as notas neste arquivo")
    opcoes = analisador.parse_args(argumentos)
    pedidos = [nome for nome in ("comando", "programa", "turma", "regras") if getattr(opcoes, nome)]
    if len(pedidos) != 1 and pedidos != ["programa", "regras"]:
        analisador.error("diga o que conferir: --comando, --programa ou --turma (ou --regras, para ver as regras)")
    for comando in opcoes.comando, opcoes.programa:
        if comando and "{porta}" not in comando and not opcoes.regras:
            analisador.error('o comando precisa de {porta}: "python servidor.py --porta {porta}"')
    if opcoes.turma and not any(filho.is_dir() for filho in opcoes.turma.glob("*")):
        analisador.error(f"a pasta {opcoes.turma} não existe, ou não tem uma subpasta por aluno")
    if opcoes.turma and opcoes.json or opcoes.csv and not opcoes.turma:
        analisador.error("--csv é para --turma, e --json, para um programa só")
    if opcoes.nivel is not None and not 1 <= opcoes.nivel <= 6:
        analisador.error("--nivel vai de 1 a 6")
    if not 0 < opcoes.prazo <= 600:
        analisador.error("--prazo são segundos, acima de zero e até 600")
    try:
        livro = PROGRAMA if opcoes.programa else SERVIDOR
        opcoes.regras_pedidas = livro.escolher(opcoes.nivel, filter(None, opcoes.so.replace(" ", "").split(",")))
    except ValueError as erro:
        analisador.error(f"{erro}; --regras mostra todas")
    arquivo = opcoes.json or opcoes.csv
    if arquivo:
        try:
            arquivo.open("a").close()  # agora, e não depois de conferir uma turma inteira
        except OSError as erro:
            analisador.error(f"não foi possível gravar em {arquivo}: {erro.strerror}")
    return opcoes


def main(argumentos: Sequence[str] | None = None) -> int:
    """O comando `python docs/conferir.py`."""
    for saida in sys.stdout, sys.stderr:
        saida.reconfigure(errors="replace")  # há consoles sem setas nem acentos
    opcoes = ler_opcoes(argumentos)
    regras = opcoes.regras_pedidas
    if opcoes.regras:
        for regra in regras:
            print(f"{regra.nivel}  {regra.id:<26} {regra.frase}")
        return 0
    if opcoes.turma:
        turma = conferir_turma(opcoes.turma, regras, opcoes)
        if opcoes.csv:
            gravar_csv(opcoes.csv, turma)
        return int(any(resultado.falha for resultados in turma.values() for resultado in resultados))
    alvo = Alvo(opcoes.comando or opcoes.programa, None, opcoes.prazo)
    inicio = time.monotonic()
    rodando = conferir_o_que_sobe(regras, alvo, com_servidor if opcoes.comando else Cena)
    resultados = mostrar(rodando, niveis=not opcoes.so)
    print(f"({time.monotonic() - inicio:.1f} s)")
    if opcoes.json:
        opcoes.json.write_text(json.dumps(em_json(resultados), ensure_ascii=False, indent=2), encoding="utf-8")
    return int(any(resultado.falha for resultado in resultados))


def interrompivel() -> None:
    """Ctrl+C e SIGTERM param o conferidor, e também chegam ao servidor, mesmo se quem nos lançou os ignorava."""
    for sinal in signal.SIGINT, signal.SIGTERM:
        signal.signal(sinal, signal.default_int_handler)


if __name__ == "__main__":
    interrompivel()
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("Interrompido.")
    except BrokenPipeError:  # quem lia a saída (`| head`) já foi embora
        os._exit(1)
    except OSError as erro:
        sys.exit(f"Não foi possível gravar em {erro.filename}: {erro.strerror}.")
