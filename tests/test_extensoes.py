"""Departamentos, comandos, devolução e registro no fio: cada frase da especificação, com o servidor de verdade."""

import contextlib
import itertools
import random
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from participante import FECHOU, PRAZO
from test_protocolo import casos

from protocolo import Entrada, Json, Texto, Tipo, validar_departamentos

DOIS = ("Vendas", "Suporte")
ESCOLHA = "FIM:Departamento inválido: escolha entre Vendas, Suporte."
NAO_TEM = "FIM:Departamento inválido: este servidor não tem departamentos."
EM_PAUSA = "AVISO:Você está em pausa."
REGISTRADA = "AVISO:Esta conversa está sendo registrada."


@pytest.fixture
def com_dois(abrir_servidor):
    """Um servidor com os departamentos Vendas e Suporte."""
    return abrir_servidor(departamentos=DOIS)


def entra(servidor, tipo, nome, *linhas):
    """Alguém que diz o departamento já na primeira linha."""
    alguem = servidor.conecta(nome)
    alguem.envia(tipo, nome)
    alguem.espera("NOME:", *linhas)
    return alguem


def par(servidor, onde="Vendas", do_atendente="*"):
    """Yuri e Ana, que já conversam em `onde`."""
    ana = entra(servidor, f"ATENDENTE:{do_atendente}", "Ana", "FILA:OK")
    yuri = entra(servidor, f"CLIENTE:{onde}", "Yuri", "CONECTADO:Ana")
    ana.espera("CONECTADO:Yuri")
    return yuri, ana


# --- 1. Departamentos: a identificação ----------------------------------------------------------


@casos(
    "tipo, resposta, onde",
    {
        "cliente": ("CLIENTE", "Suporte", {"Suporte"}),
        "cliente-em-minusculas": ("CLIENTE", "  sUPORTE ", {"Suporte"}),
        "atendente-de-um": ("ATENDENTE", "Vendas", {"Vendas"}),
        "atendente-de-dois": ("ATENDENTE", "suporte , VENDAS", {"Vendas", "Suporte"}),
        "atendente-de-todos": ("ATENDENTE", "", {"Vendas", "Suporte"}),
        "atendente-repetido": ("ATENDENTE", "Vendas,vendas", {"Vendas"}),
    },
)
def test_o_departamento_e_perguntado_depois_do_nome(com_dois, tipo, resposta, onde):
    """O servidor diz quais são, e não importam maiúsculas nem espaços nas pontas."""
    alguem = com_dois.conecta("Yuri")
    alguem.envia(tipo)
    alguem.espera("NOME:")
    alguem.envia("Yuri")
    alguem.espera("DEPARTAMENTO:Vendas,Suporte")
    alguem.envia(resposta)
    alguem.espera("FILA:OK" if tipo == "ATENDENTE" else "FILA:1")
    (participante,) = com_dois.filas.user_states
    assert set(participante.departamentos) == onde


@casos(
    "tipo, onde",
    {
        "cliente": ("CLIENTE:Vendas", {"Vendas"}),
        "cliente-com-espacos": (" CLIENTE: vendas ", {"Vendas"}),
        "atendente": ("ATENDENTE:Vendas,Suporte", {"Vendas", "Suporte"}),
        "atendente-de-todos": ("ATENDENTE:*", {"Vendas", "Suporte"}),
    },
)
@pytest.mark.parametrize("tamanho", [1, 4096], ids=["um-byte", "de-uma-vez"])
def test_a_linha_de_tipo_traz_o_departamento(com_dois, tipo, onde, tamanho):
    """Quem já o disse não é perguntado, venham os bytes como vierem."""
    alguem = com_dois.conecta("Yuri")
    dados = f"{tipo}\nYuri\n".encode()
    for inicio in range(0, len(dados), tamanho):
        alguem.envia(dados[inicio : inicio + tamanho])
    alguem.espera("NOME:", "FILA:OK" if "ATENDENTE" in tipo else "FILA:1")
    (participante,) = com_dois.filas.user_states
    assert set(participante.departamentos) == onde


@casos(
    "tipo, resposta",
    {
        "outro": ("CLIENTE", "Compras"),
        "vazio-do-cliente": ("CLIENTE", ""),
        "dois-do-cliente": ("CLIENTE", "Vendas,Suporte"),
        "todos-do-cliente": ("CLIENTE", "*"),
        "outro-do-atendente": ("ATENDENTE", "Vendas,Compras"),
        "virgula-a-mais": ("ATENDENTE", "Vendas,"),
        "linha-longa": ("ATENDENTE", "x" * 5000),
        "linha-longa-em-branco": ("ATENDENTE", " " * 5000),
        "linha-longa-sem-fim": ("ATENDENTE", b" " * 4096),
    },
)
def test_escolha_invalida(com_dois, tipo, resposta):
    """A escolha que não serve é recusada com a lista; a linha longa demais não quer dizer todos."""
    alguem = com_dois.conecta()
    alguem.envia(tipo, "Yuri", resposta)
    alguem.espera("NOME:", "DEPARTAMENTO:Vendas,Suporte", ESCOLHA, FECHOU)


@casos(
    "tipo",
    {"outro": "CLIENTE:Compras", "dois": "CLIENTE:Vendas,Suporte", "todos": "CLIENTE:*", "atendente": "ATENDENTE:x"},
)
def test_escolha_invalida_na_linha_de_tipo(com_dois, tipo):
    """Na primeira linha a recusa vem na hora, sem perguntar o nome."""
    alguem = com_dois.conecta()
    alguem.envia(tipo)
    alguem.espera(ESCOLHA, FECHOU)


@casos("tipo", {"cliente": "CLIENTE:Vendas", "atendente": "ATENDENTE:Vendas", "todos": "ATENDENTE:*"})
def test_servidor_sem_departamentos(servidor, tipo):
    """Quem diz um departamento a quem não os tem é recusado."""
    alguem = servidor.conecta()
    alguem.envia(tipo)
    alguem.espera(NAO_TEM, FECHOU)


def test_a_recusa_cabe_na_linha(abrir_servidor):
    """Com uma lista que enche a linha, a recusa a abrevia: `Participante.linha` confere o limite."""
    nomes = tuple(f"{numero:040}" for numero in range(99))
    alguem = abrir_servidor(departamentos=nomes).conecta()
    alguem.envia("CLIENTE", "Yuri", "x")
    alguem.espera("NOME:", f"DEPARTAMENTO:{','.join(nomes)}")
    alguem.espera("FIM:Departamento inválido: escolha entre os que o servidor anuncia.", FECHOU)


def test_o_prazo_e_o_da_identificacao(abrir_servidor):
    """Quem não responde à pergunta a tempo é recusado como nas outras, ainda que pingue um byte por vez."""
    alguem = abrir_servidor(departamentos=DOIS, prazo_identificacao=0.2).conecta()
    alguem.envia("CLIENTE", "Yuri")
    alguem.espera("NOME:", "DEPARTAMENTO:Vendas,Suporte")
    for _ in itertools.takewhile(lambda _: not alguem.tem_o_que_ler(espera=0.02), range(1000)):
        alguem.envia(b"V")
    alguem.espera("FIM:Tempo de identificação esgotado.", FECHOU)


@pytest.mark.parametrize("tamanho", [1, 5, 4096], ids=["um-byte", "de-cinco", "de-uma-vez"])
def test_a_senha_vem_antes_do_nome_e_do_departamento(abrir_servidor, tamanho):
    """A ordem das perguntas é senha, nome, departamento, venham as respostas aos pedaços ou todas de uma vez."""
    ana = abrir_servidor(departamentos=DOIS, senha="segredo").conecta()
    dados = "ATENDENTE\nsegredo\nAna\n\nFILA:\n".encode()
    for inicio in range(0, len(dados), tamanho):
        ana.envia(dados[inicio : inicio + tamanho])
    ana.espera("SENHA:", "NOME:", "DEPARTAMENTO:Vendas,Suporte", "FILA:OK", "AVISO:Nenhum cliente na fila.")


def test_a_maior_lista_que_cabe_na_pergunta(abrir_servidor):
    """A pergunta pode encher a linha de 4096 bytes; com um byte mais, a lista não serve."""
    nomes = [f"{numero:040}" for numero in range(99)] + ["x" * 23]
    assert len(f"DEPARTAMENTO:{','.join(nomes)}\n") == 4096
    alguem = abrir_servidor(departamentos=validar_departamentos(",".join(nomes))).conecta()
    alguem.envia("CLIENTE", "Yuri", nomes[-1])
    alguem.espera("NOME:", f"DEPARTAMENTO:{','.join(nomes)}", "FILA:1")
    with pytest.raises(ValueError):
        validar_departamentos(",".join(nomes) + "x")


def test_a_recusa_traz_a_lista_que_cabe(abrir_servidor):
    """A recusa só pode abreviar a lista que não caberia na linha."""
    nomes = tuple(f"{numero:040}" for numero in range(60))  # 2,5 KB
    alguem = abrir_servidor(departamentos=nomes).conecta()
    alguem.envia("CLIENTE:x")
    alguem.espera(f"FIM:Departamento inválido: escolha entre {', '.join(nomes)}.", FECHOU)


def test_o_departamento_tem_de_caber_em_utf8():
    """Um nome que não se pode mandar pelo fio não serve: ninguém o poderia escolher."""
    with pytest.raises(ValueError):
        validar_departamentos("Ven\udcff,Suporte")


# --- 1. Departamentos: as filas -----------------------------------------------------------------


def test_a_posicao_conta_so_o_departamento(com_dois):
    """Cada departamento é uma fila, e sair de uma não muda a outra."""
    yuri = entra(com_dois, "CLIENTE:Vendas", "Yuri", "FILA:1")
    entra(com_dois, "CLIENTE:Suporte", "Bia", "FILA:1")
    caio = entra(com_dois, "CLIENTE:Vendas", "Caio", "FILA:2")
    davi = entra(com_dois, "CLIENTE:Suporte", "Davi", "FILA:2")
    yuri.fecha()
    caio.espera("FILA:1")
    davi.envia("FILA:")
    davi.espera("AVISO:Você é o número 2 de 2 na fila; atendentes online: 0.")


def test_quem_espera_ha_mais_tempo_entre_os_departamentos_do_atendente(com_dois):
    """O atendente de vários recebe o que chegou antes, seja de qual for; o de um só, o primeiro do seu."""
    bia = entra(com_dois, "CLIENTE:Suporte", "Bia", "FILA:1")
    entra(com_dois, "CLIENTE:Suporte", "Caio", "FILA:2")
    yuri = entra(com_dois, "CLIENTE:Vendas", "Yuri", "FILA:1")
    entra(com_dois, "ATENDENTE:Vendas", "Ana", "CONECTADO:Yuri")
    entra(com_dois, "ATENDENTE:*", "Bruno", "CONECTADO:Bia")
    yuri.espera("CONECTADO:Ana")
    bia.espera("CONECTADO:Bruno")


def test_o_atendente_livre_ha_mais_tempo_entre_os_do_departamento(com_dois):
    """O cliente recebe quem ficou livre antes entre os que o atendem, e não outro."""
    entra(com_dois, "ATENDENTE:Vendas", "Ana", "FILA:OK")
    entra(com_dois, "ATENDENTE:*", "Bruno", "FILA:OK")
    entra(com_dois, "ATENDENTE:Suporte", "Carla", "FILA:OK")
    entra(com_dois, "CLIENTE:Suporte", "Yuri", "CONECTADO:Bruno")
    entra(com_dois, "CLIENTE:Suporte", "Bia", "CONECTADO:Carla")
    entra(com_dois, "CLIENTE:Suporte", "Caio", "FILA:1")
    entra(com_dois, "CLIENTE:Vendas", "Davi", "CONECTADO:Ana")


# --- 2. FILA: -----------------------------------------------------------------------------------


def test_consulta_do_cliente(com_dois):
    """O cliente sabe a sua posição no departamento, de quantos, e quantos atendentes estão online nele."""
    entra(com_dois, "ATENDENTE:Suporte", "Ana", "FILA:OK")
    bruno = entra(com_dois, "ATENDENTE:*", "Bruno", "FILA:OK")
    entra(com_dois, "CLIENTE:Vendas", "Yuri", "CONECTADO:Bruno")
    bruno.espera("CONECTADO:Yuri")
    entra(com_dois, "CLIENTE:Vendas", "Bia", "FILA:1")
    caio = entra(com_dois, "CLIENTE:Vendas", "Caio", "FILA:2")
    caio.envia("FILA:")
    caio.espera("AVISO:Você é o número 2 de 2 na fila; atendentes online: 1.")
    bruno.envia("PAUSA:")
    bruno.espera("AVISO:Você ficará em pausa depois desta conversa.")
    caio.envia("FILA:")  # a pausa pedida ainda não começou
    caio.espera("AVISO:Você é o número 2 de 2 na fila; atendentes online: 1.")
    bruno.envia("FIM:")
    bruno.espera("FIM:Atendimento encerrado. Você encerrou a conversa.", EM_PAUSA)
    caio.envia("FILA:")
    caio.espera("AVISO:Você é o número 2 de 2 na fila; atendentes online: 0.")


@casos(
    "duracoes, posicao, online, espera",
    {
        "menos-de-um-minuto": ([59.9], 1, 1, "menos de 1 min"),
        "um-minuto": ([60], 1, 1, "1 min"),
        "arredonda-para-cima": ([61], 1, 1, "2 min"),
        "media": ([60, 180], 1, 1, "2 min"),
        "vezes-a-posicao": ([60], 3, 1, "3 min"),
        "dividida-pelos-online": ([60], 3, 2, "2 min"),
        "so-os-ultimos-vinte": ([6000] * 30 + [60] * 20, 1, 1, "1 min"),
        "ninguem-online": ([60], 1, 0, None),
        "nenhum-atendimento": ([], 1, 1, None),
    },
)
def test_espera_estimada(com_dois, duracoes, posicao, online, espera):
    """A estimativa é a média dos últimos 20 do departamento × posição ÷ online, em minutos para cima."""
    for duracao in duracoes:
        com_dois.filas.turno.acabou("Vendas", duracao)
    com_dois.filas.turno.acabou("Suporte", 36_000)  # outro departamento não conta
    for numero in range(online):
        ana = entra(com_dois, "ATENDENTE:Vendas", "Ana", "FILA:OK")
        entra(com_dois, "CLIENTE:Vendas", f"Atendido {numero}", "CONECTADO:Ana")
        ana.espera(f"CONECTADO:Atendido {numero}")
    for lugar in range(1, posicao + 1):
        cliente = entra(com_dois, "CLIENTE:Vendas", "Yuri", f"FILA:{lugar}")
    cliente.envia("FILA:")
    estimativa = f"; espera estimada: {espera}" if espera else ""
    cliente.espera(f"AVISO:Você é o número {posicao} de {posicao} na fila; atendentes online: {online}{estimativa}.")


def test_a_estimativa_vem_da_duracao_das_conversas(abrir_servidor):
    """O relógio das filas mede a conversa, do `CONECTADO:` ao fim."""
    servidor = abrir_servidor()
    agora = [1000.0]
    servidor.filas.relogio = lambda: agora[0]
    yuri, ana = servidor.par()
    agora[0] += 150
    yuri.fecha()
    ana.espera("FIM:Atendimento encerrado. O cliente Yuri desconectou.", "FILA:OK")
    servidor.cliente("Bia", "CONECTADO:Ana")
    caio = servidor.cliente("Caio", "FILA:1")
    caio.envia("FILA:")
    caio.espera("AVISO:Você é o número 1 de 1 na fila; atendentes online: 1; espera estimada: 3 min.")


@casos(
    "quantos, resposta",
    {
        "nenhum": (0, "Nenhum cliente na fila."),
        "um": (1, "Clientes na fila: 1 (C1)."),
        "dez": (10, f"Clientes na fila: 10 ({', '.join(f'C{n}' for n in range(1, 11))})."),
        "onze": (11, f"Clientes na fila: 11 ({', '.join(f'C{n}' for n in range(1, 11))}, …)."),
    },
)
def test_consulta_do_atendente(com_dois, quantos, resposta):
    """O atendente sabe quem espera nos seus departamentos: dez nomes, e reticências se há mais."""
    ana = entra(com_dois, "ATENDENTE:Vendas", "Ana", "FILA:OK")
    ana.envia("PAUSA:")
    ana.espera(EM_PAUSA)
    entra(com_dois, "CLIENTE:Suporte", "Outro", "FILA:1")
    for numero in range(1, quantos + 1):
        entra(com_dois, "CLIENTE:Vendas", f"C{numero}", f"FILA:{numero}")
    ana.envia("FILA:")
    ana.espera(f"AVISO:{resposta}")


# --- 2. PAUSA: e VOLTA: -------------------------------------------------------------------------


def test_pausa_na_fila(servidor):
    """Em pausa não se recebem clientes; de volta, recebe-se o primeiro ou se espera."""
    ana = servidor.atendente("Ana", "FILA:OK")
    ana.envia("PAUSA:", "PAUSA:")
    ana.espera(EM_PAUSA, "AVISO:Você já está em pausa.")
    yuri = servidor.cliente("Yuri", "FILA:1")
    ana.envia("oi?", "VOLTA:")
    ana.espera("AVISO:Nenhum cliente conectado; a mensagem não foi enviada.", "CONECTADO:Yuri")
    yuri.espera("CONECTADO:Ana")
    yuri.fecha()
    ana.espera("FIM:Atendimento encerrado. O cliente Yuri desconectou.", "FILA:OK")
    ana.envia("PAUSA:", "VOLTA:", "VOLTA:")
    ana.espera(EM_PAUSA, "FILA:OK", "AVISO:Você não está em pausa.")


def test_quem_volta_vai_para_o_fim_da_fila(servidor):
    """A volta da pausa é uma chegada: quem esperava continua na frente."""
    ana, bruno = servidor.atendente("Ana", "FILA:OK"), servidor.atendente("Bruno", "FILA:OK")
    ana.envia("PAUSA:", "VOLTA:")
    ana.espera(EM_PAUSA, "FILA:OK")
    servidor.cliente("Yuri", "CONECTADO:Bruno")
    bruno.espera("CONECTADO:Yuri")


@casos(
    "fim",
    {
        "o-cliente-sai": (lambda yuri, ana: yuri.fecha(), "O cliente Yuri desconectou."),
        "o-cliente-encerra": (lambda yuri, ana: yuri.envia("FIM:"), "O cliente Yuri encerrou a conversa."),
        "o-atendente-encerra": (lambda yuri, ana: ana.envia("FIM:"), "Você encerrou a conversa."),
    },
)
def test_pausa_no_meio_da_conversa(servidor, fim):
    """A pausa pedida começa quando a conversa acaba, no lugar de `FILA:OK`, e há quem espere."""
    acaba, motivo = fim
    yuri, ana = servidor.par()
    servidor.cliente("Bia", "FILA:1")
    ana.envia("PAUSA:", "ainda aqui", "PAUSA:")
    ana.espera(*["AVISO:Você ficará em pausa depois desta conversa."] * 2)
    yuri.espera("[Ana]: ainda aqui")
    acaba(yuri, ana)
    ana.espera(f"FIM:Atendimento encerrado. {motivo}", EM_PAUSA)
    ana.envia("VOLTA:")
    ana.espera("CONECTADO:Bia")


def test_pausa_cancelada(servidor):
    """Com a pausa ainda por começar, `VOLTA:` a cancela."""
    yuri, ana = servidor.par()
    ana.envia("PAUSA:", "VOLTA:", "VOLTA:")
    ana.espera(
        "AVISO:Você ficará em pausa depois desta conversa.", "AVISO:Pausa cancelada.", "AVISO:Você não está em pausa."
    )
    yuri.fecha()
    ana.espera("FIM:Atendimento encerrado. O cliente Yuri desconectou.", "FILA:OK")


def test_sair_em_pausa(servidor):
    """`FIM:` de quem está em pausa o desconecta, e quem cai em pausa não deixa rastro."""
    ana, bruno = servidor.atendente("Ana", "FILA:OK"), servidor.atendente("Bruno", "FILA:OK")
    ana.envia("PAUSA:", "FIM:")
    ana.espera(EM_PAUSA, "FIM:Você saiu da fila.", FECHOU)
    bruno.envia("PAUSA:")
    bruno.espera(EM_PAUSA)
    bruno.some()
    ana.fecha()
    servidor.espera_que_fechem()
    assert not servidor.filas.user_states and not servidor.filas.online


# --- 2. TRANSFERIR: -----------------------------------------------------------------------------

TRANSFERIDO = "FIM:Atendimento encerrado. O cliente Yuri foi transferido para Suporte."


def test_transferir_para_quem_esta_livre(com_dois):
    """O transferido é atendido na hora por quem está livre lá, e quem transferiu fica livre."""
    yuri, ana = par(com_dois, do_atendente="Vendas")
    bia = entra(com_dois, "CLIENTE:Vendas", "Bia", "FILA:1")
    bruno = entra(com_dois, "ATENDENTE:Suporte", "Bruno", "FILA:OK")
    ana.envia("TRANSFERIR: suporte ")
    ana.espera(TRANSFERIDO, "CONECTADO:Bia")
    yuri.espera("AVISO:Você foi transferido para Suporte.", "CONECTADO:Bruno")
    bruno.espera("CONECTADO:Yuri")
    bia.espera("CONECTADO:Ana")
    yuri.envia("oi")
    bruno.espera("[Yuri]: oi")


def test_transferir_para_a_frente_da_fila(com_dois):
    """O transferido passa à frente de quem espera lá, que fica sabendo, e o que escreve fica guardado."""
    bruno = entra(com_dois, "ATENDENTE:Suporte", "Bruno", "FILA:OK")
    entra(com_dois, "CLIENTE:Suporte", "Caio", "CONECTADO:Bruno")
    bruno.espera("CONECTADO:Caio")
    bia = entra(com_dois, "CLIENTE:Suporte", "Bia", "FILA:1")
    yuri, ana = par(com_dois, do_atendente="Vendas")
    ana.envia("TRANSFERIR:Suporte")
    ana.espera(TRANSFERIDO, "FILA:OK")
    yuri.espera("AVISO:Você foi transferido para Suporte.", "FILA:1")
    bia.espera("FILA:2")
    yuri.envia("alguém?")
    yuri.espera("AVISO:Você ainda está na fila; sua mensagem será entregue ao atendente.")
    bruno.envia("FIM:")
    bruno.espera("FIM:Atendimento encerrado. Você encerrou a conversa.", "CONECTADO:Yuri", "[Yuri]: alguém?")
    bia.espera("FILA:1")


def test_transferir_para_si(com_dois):
    """O atendente dos dois departamentos, se é o único, recebe o mesmo cliente de volta."""
    yuri, ana = par(com_dois)
    ana.envia("TRANSFERIR:Suporte")
    ana.espera(TRANSFERIDO, "CONECTADO:Yuri")
    yuri.espera("AVISO:Você foi transferido para Suporte.", "CONECTADO:Ana")


def test_transferir_com_pausa_pedida(com_dois):
    """Quem pediu pausa e transfere entra nela."""
    yuri, ana = par(com_dois)
    ana.envia("PAUSA:", "TRANSFERIR:Suporte")
    ana.espera("AVISO:Você ficará em pausa depois desta conversa.", TRANSFERIDO, EM_PAUSA)
    yuri.espera("AVISO:Você foi transferido para Suporte.", "FILA:1")


@casos(
    "pedido, aviso",
    {
        "outro": ("TRANSFERIR:Compras", "Departamento inválido: escolha entre Vendas, Suporte."),
        "vazio": ("TRANSFERIR:", "Departamento inválido: escolha entre Vendas, Suporte."),
        "todos": ("TRANSFERIR:*", "Departamento inválido: escolha entre Vendas, Suporte."),
        "dois": ("TRANSFERIR:Suporte,Vendas", "Departamento inválido: escolha entre Vendas, Suporte."),
        "o-mesmo": ("TRANSFERIR:VENDAS", "O cliente Yuri já está em Vendas."),
    },
)
def test_transferencia_que_nao_serve(com_dois, pedido, aviso):
    """Com o departamento errado, o atendente lê um aviso e a conversa continua."""
    yuri, ana = par(com_dois)
    ana.envia(pedido, "continuamos")
    ana.espera(f"AVISO:{aviso}")
    yuri.espera("[Ana]: continuamos")


def test_transferir_sem_departamentos(servidor):
    """Num servidor sem departamentos não há para onde transferir."""
    yuri, ana = servidor.par()
    ana.envia("TRANSFERIR:Suporte", "continuamos")
    ana.espera("AVISO:Departamento inválido: este servidor não tem departamentos.")
    yuri.espera("[Ana]: continuamos")


# --- 2. Cada comando em cada momento ---------------------------------------------------------------

COM_YURI = "AVISO:O cliente Yuri já está em Vendas."
SEM_CLIENTE = "AVISO:Nenhum cliente conectado para transferir."
NAO_ESTA = "AVISO:Você não está em pausa."
FICARA = "AVISO:Você ficará em pausa depois desta conversa."
CANCELADA = "AVISO:Pausa cancelada."
JA_ESTA = "AVISO:Você já está em pausa."
NINGUEM, BIA = "AVISO:Nenhum cliente na fila.", "AVISO:Clientes na fila: 1 (Bia)."


@casos(
    "antes, respostas, depois",
    {  # o que o atendente manda antes; o que lê a FILA:, PAUSA:, VOLTA: e TRANSFERIR:Vendas; e ao cliente seguinte
        "na-fila": ([], [NINGUEM, EM_PAUSA, "FILA:OK", SEM_CLIENTE], ["CONECTADO:Bia"]),
        "em-pausa": (["PAUSA:"], [NINGUEM, JA_ESTA, "FILA:OK", SEM_CLIENTE], ["CONECTADO:Bia"]),
        "na-conversa": (["Yuri"], [NINGUEM, FICARA, CANCELADA, COM_YURI], [BIA]),
        "com-pausa-pedida": (["Yuri", "PAUSA:"], [NINGUEM, FICARA, CANCELADA, COM_YURI], [BIA]),
    },
)
def test_comando_do_atendente(com_dois, antes, respostas, depois):
    """Em cada momento cada comando tem a sua resposta, uma só, e nenhum chega ao cliente como mensagem."""
    ana = entra(com_dois, "ATENDENTE:Vendas", "Ana", "FILA:OK")
    if "Yuri" in antes:
        yuri = entra(com_dois, "CLIENTE:Vendas", "Yuri", "CONECTADO:Ana")
        ana.espera("CONECTADO:Yuri")
    if "PAUSA:" in antes:
        ana.envia("PAUSA:")
        ana.espera(FICARA if "Yuri" in antes else EM_PAUSA)
    ana.envia("FILA:", "PAUSA:", "VOLTA:", "TRANSFERIR:Vendas")
    ana.espera(*respostas)
    ana.envia("VOLTA:")
    ana.espera(NAO_ESTA)
    if "Yuri" in antes:
        ana.envia("oi")
        yuri.espera("[Ana]: oi")
    entra(com_dois, "CLIENTE:Vendas", "Bia", "FILA:1" if "Yuri" in antes else "CONECTADO:Ana")
    ana.envia(*["FILA:"] * ("Yuri" in antes))
    ana.espera(*depois)


# --- 2. Na hora errada --------------------------------------------------------------------------


@casos(
    "pedido, na_fila, na_conversa",
    {
        "fila": ("FILA:", "Você é o número 1 de 1 na fila; atendentes online: 0.", "Você já está sendo atendido."),
        "pausa": ("PAUSA:", "Só atendentes fazem pausa.", "Só atendentes fazem pausa."),
        "volta": ("VOLTA:", "Só atendentes fazem pausa.", "Só atendentes fazem pausa."),
        "transferir": ("TRANSFERIR:Vendas", *["Só atendentes transferem clientes."] * 2),
    },
)
def test_comando_do_cliente(servidor, pedido, na_fila, na_conversa):
    """Ao cliente, o comando que não cabe dá um aviso; não muda nada e nunca vira mensagem."""
    yuri = servidor.cliente("Yuri", "FILA:1")
    yuri.envia(pedido)
    yuri.espera(f"AVISO:{na_fila}")
    ana = servidor.atendente("Ana", "CONECTADO:Yuri")
    yuri.espera("CONECTADO:Ana")
    yuri.envia(f"{pedido}\r\n".encode(), "oi")
    yuri.espera(f"AVISO:{na_conversa}")
    ana.espera("[Yuri]: oi")


def test_transferir_sem_cliente(com_dois):
    """Fora de uma conversa não há quem transferir."""
    ana = entra(com_dois, "ATENDENTE:*", "Ana", "FILA:OK")
    ana.envia("TRANSFERIR:Vendas", "PAUSA:", "TRANSFERIR:Vendas")
    sem_cliente = "AVISO:Nenhum cliente conectado para transferir."
    ana.espera(sem_cliente, EM_PAUSA, sem_cliente)


@casos(
    "linha",
    {
        "com-argumento": "FILA:2",
        "em-minusculas": "pausa:",
        "sem-dois-pontos": "PAUSA",
        "depois-de-espaco": " VOLTA:",
        "com-prefixo": "[Ana]: TRANSFERIR:Vendas",
    },
)
def test_o_que_so_parece_comando_e_mensagem(servidor, linha):
    """O que não é exatamente um comando continua a ser chat, e o prefixo protege o que uma pessoa escreve."""
    yuri, ana = servidor.par()
    ana.envia(linha)
    yuri.espera(f"[Ana]: {linha.removeprefix('[Ana]: ')}")


# --- 3. Quando o atendente cai ------------------------------------------------------------------

VOLTOU = "AVISO:O atendente Ana desconectou. Você voltou para o início da fila."


@pytest.mark.parametrize("cai", ["fecha", "some", "para_de_escrever"], ids=["fecha", "rst", "meia"])
def test_devolvido_a_frente_da_fila(abrir_servidor, cai):
    """O cliente de quem cai volta a ser o primeiro, e quem esperava fica sabendo."""
    servidor = abrir_servidor(devolver=True)
    yuri, ana = servidor.par()
    bia = servidor.cliente("Bia", "FILA:1")
    getattr(ana, cai)()
    yuri.espera(VOLTOU, "FILA:1")
    bia.espera("FILA:2")
    yuri.envia("ainda aqui")
    yuri.espera("AVISO:Você ainda está na fila; sua mensagem será entregue ao atendente.")
    bruno = servidor.atendente("Bruno", "CONECTADO:Yuri", "[Yuri]: ainda aqui")
    yuri.espera("CONECTADO:Bruno")
    bruno.envia("FIM:")
    yuri.espera("FIM:Atendimento encerrado. O atendente Bruno encerrou a conversa.", FECHOU)


def test_devolvido_a_quem_esta_livre(abrir_servidor):
    """Com outro atendente livre, o devolvido é conectado direto, sem `FILA:`."""
    servidor = abrir_servidor(devolver=True)
    yuri, ana = servidor.par()
    bruno = servidor.atendente("Bruno", "FILA:OK")
    ana.fecha()
    yuri.espera(VOLTOU, "CONECTADO:Bruno")
    bruno.espera("CONECTADO:Yuri")


def test_devolvido_e_o_primeiro_entre_todos(abrir_servidor):
    """Para um atendente de vários departamentos, o devolvido vem antes de quem espera em qualquer um."""
    servidor = abrir_servidor(devolver=True, departamentos=DOIS)
    yuri, ana = par(servidor, do_atendente="Vendas")
    entra(servidor, "CLIENTE:Suporte", "Bia", "FILA:1")
    ana.fecha()
    yuri.espera(VOLTOU, "FILA:1")
    entra(servidor, "ATENDENTE:*", "Bruno", "CONECTADO:Yuri")


def test_quem_encerra_nao_devolve(abrir_servidor):
    """`FIM:` do atendente não é uma queda: o cliente é desconectado como sempre."""
    yuri, ana = abrir_servidor(devolver=True).par()
    ana.envia("FIM:")
    yuri.espera("FIM:Atendimento encerrado. O atendente Ana encerrou a conversa.", FECHOU)


def test_sem_a_opcao_o_cliente_e_encerrado(servidor):
    """O padrão é o do trabalho original."""
    yuri, ana = servidor.par()
    ana.fecha()
    yuri.espera("FIM:Atendimento encerrado. O atendente Ana desconectou.", FECHOU)


def test_o_atendente_que_nao_le_tambem_cai(abrir_servidor, monkeypatch):
    """Cortado por não ler, o atendente perde o cliente para a fila, e não para o fim."""
    monkeypatch.setattr("servidor.BUFFER_DE_ENVIO", 4096)
    servidor = abrir_servidor(devolver=True, prazo_envio=0.2)
    yuri, ana = servidor.par(buffers=4096)
    parar = threading.Event()

    def falar():
        while not parar.is_set():
            yuri.envia(*["x" * 1000] * 20)

    falante = threading.Thread(target=falar)
    falante.start()
    try:
        yuri.espera(VOLTOU)
    finally:
        parar.set()
        falante.join(PRAZO)
    yuri.espera("FILA:1")


# --- 4. O que o registro ouve -------------------------------------------------------------------


@pytest.fixture
def ouvido():
    """Os acontecimentos contados ao ouvinte: (conversa, evento, de, para, textos)."""
    return []


@pytest.fixture
def com_ouvinte(abrir_servidor, ouvido):
    """Um servidor com tudo ligado, e quem o ouve."""

    def ouvir(a):
        conversa = a.conversa
        assert (conversa.cliente, conversa.atendente) in {(a.de, a.para), (a.para, a.de)} or not a.de
        ouvido.append((conversa.numero, conversa.departamento, a.evento, a.de, a.para, *a.textos))

    return abrir_servidor(departamentos=DOIS, devolver=True, ouvinte=ouvir)


def test_o_aviso_de_registro_vem_logo_depois_do_conectado(com_ouvinte):
    """Os dois são avisados antes de qualquer mensagem, também das guardadas."""
    yuri = entra(com_ouvinte, "CLIENTE:Vendas", "Yuri", "FILA:1")
    yuri.envia("oi")
    yuri.espera("AVISO:Você ainda está na fila; sua mensagem será entregue ao atendente.")
    entra(com_ouvinte, "ATENDENTE:*", "Ana", "CONECTADO:Yuri", REGISTRADA, "[Yuri]: oi")
    yuri.espera("CONECTADO:Ana", REGISTRADA)


def test_tudo_o_que_se_ouve(com_ouvinte, ouvido):
    """Cada conversa tem início, mensagens e fim, com quem o causou; o servidor que encerra não é ninguém."""
    yuri = entra(com_ouvinte, "CLIENTE:Vendas", "Yuri", "FILA:1")
    yuri.envia("um", "dois")
    yuri.espera("AVISO:Você ainda está na fila; sua mensagem será entregue ao atendente.")
    ana = entra(com_ouvinte, "ATENDENTE:Vendas", "Ana", "CONECTADO:Yuri", REGISTRADA, "[Yuri]: um", "[Yuri]: dois")
    yuri.espera("CONECTADO:Ana", REGISTRADA)
    bruno = entra(com_ouvinte, "ATENDENTE:Suporte", "Bruno", "FILA:OK")
    ana.envia("[Ana]: três", "TRANSFERIR:Suporte")
    bruno.espera("CONECTADO:Yuri", REGISTRADA)
    bruno.fecha()
    yuri.espera("[Ana]: três", "AVISO:Você foi transferido para Suporte.", "CONECTADO:Bruno", REGISTRADA)
    yuri.espera("AVISO:O atendente Bruno desconectou. Você voltou para o início da fila.", "FILA:1")
    entra(com_ouvinte, "ATENDENTE:Suporte", "Carla", "CONECTADO:Yuri", REGISTRADA)
    com_ouvinte.encerrar(prazo=0.1)
    assert ouvido == [
        (1, "Vendas", "inicio", "Yuri", "Ana", ""),
        (1, "Vendas", "mensagem", "Yuri", "Ana", "um", "dois"),
        (1, "Vendas", "mensagem", "Ana", "Yuri", "três"),
        (1, "Vendas", "fim", "Ana", "Yuri", "O cliente Yuri foi transferido para Suporte."),
        (2, "Suporte", "inicio", "Yuri", "Bruno", ""),
        (2, "Suporte", "fim", "Bruno", "Yuri", "O atendente Bruno desconectou."),
        (3, "Suporte", "inicio", "Yuri", "Carla", ""),
        (3, "Suporte", "fim", "", "", "Servidor encerrado."),
    ]


def test_quem_voltou_a_esperar_ja_nao_conversa(com_ouvinte, ouvido):
    """O servidor que encerra só acaba as conversas que há: não a de quem foi transferido ou devolvido, e espera."""
    ana = entra(com_ouvinte, "ATENDENTE:Vendas", "Ana", "FILA:OK")
    yuri = entra(com_ouvinte, "CLIENTE:Vendas", "Yuri", "CONECTADO:Ana", REGISTRADA)
    ana.envia("TRANSFERIR:Suporte")
    yuri.espera("AVISO:Você foi transferido para Suporte.", "FILA:1")
    bia = entra(com_ouvinte, "CLIENTE:Vendas", "Bia", "CONECTADO:Ana", REGISTRADA)
    ana.fecha()
    bia.espera(VOLTOU, "FILA:1")
    com_ouvinte.encerrar(prazo=0.1)
    yuri.espera("FIM:Servidor encerrado.", FECHOU)
    fins = [(conversa, *resto) for conversa, _, evento, *resto in ouvido if evento == "fim"]
    assert fins == [
        (1, "Ana", "Yuri", "O cliente Yuri foi transferido para Suporte."),
        (2, "Ana", "Bia", "O atendente Ana desconectou."),
    ]


@casos(
    "acaba, fim",
    {
        "cliente-sai": (lambda yuri, ana: yuri.fecha(), ("Yuri", "Ana", "O cliente Yuri desconectou.")),
        "cliente-encerra": (lambda yuri, ana: yuri.envia("FIM:"), ("Yuri", "Ana", "O cliente Yuri encerrou a conversa.")),
        "atendente-encerra": (lambda yuri, ana: ana.envia("FIM:"), ("Ana", "Yuri", "O atendente Ana encerrou a conversa.")),
    },
)
def test_quem_causou_o_fim(abrir_servidor, ouvido, acaba, fim):
    """O fim diz quem o causou, a quem e por quê."""
    acabou = threading.Event()

    def ouvir(a):
        ouvido.append((a.evento, a.de, a.para, *a.textos))
        if a.evento == "fim":
            acabou.set()

    servidor = abrir_servidor(ouvinte=ouvir)
    ana = servidor.atendente("Ana", "FILA:OK")
    yuri = servidor.cliente("Yuri", "CONECTADO:Ana", REGISTRADA)
    acaba(yuri, ana)
    assert acabou.wait(PRAZO)
    assert ouvido == [("inicio", "Yuri", "Ana", ""), ("fim", *fim)]


# =================================================================================================
# Tudo ao mesmo tempo, e o que a especificação manda dizer a cada um.
# =================================================================================================


class Fio:
    """Um participante que fala texto ou JSON. Do lado de cá tudo é texto: só o fio sabe a diferença."""

    def __init__(self, servidor, nome, em_json):
        self.nome, self.em_json = nome, em_json
        self.cru = servidor.conecta(nome)

    def entra(self, tipo, onde):
        """Diz tudo na primeira linha; `onde` é vazio num servidor sem departamentos."""
        if self.em_json:
            self.cru.envia(Json().codificar(Entrada(Tipo(tipo), onde or None, self.nome)))
        else:
            self.cru.envia(f"{tipo}:{onde}" if onde else tipo, self.nome)
            self.cru.espera("NOME:")

    def envia(self, *linhas):
        if self.em_json:
            comandos = Texto(self.nome).ler_participante(linhas)
            linhas = [Json().codificar(comando) for comando in comandos]
        self.cru.envia(*linhas)

    def linha(self):
        linha = self.cru.linha()
        if linha is FECHOU or not self.em_json:
            return linha
        (comando,) = Json().ler_servidor([linha])
        return Texto().codificar(comando).decode().removesuffix("\n")

    def espera(self, *linhas):
        """Como a do participante; a `UM_AVISO` serve qualquer aviso."""
        for esperada in linhas:
            chegou = self.linha()
            serve = chegou and chegou.startswith("AVISO:") if esperada == UM_AVISO else chegou == esperada
            assert serve, f"{self.nome} esperava {esperada!r} e recebeu {chegou!r}"


UM_AVISO = "AVISO:…"


@dataclass(eq=False)
class Alguem:
    """Quem está conectado, para o modelo."""

    nome: str
    cliente: bool
    onde: list[str]
    vez: int  # de quem espera: o menor é o primeiro
    fase: str = "fila"
    par: "Alguem | None" = None
    desde: int = 0  # segundos: do cliente, quando a conversa começou
    guardadas: list[str] = field(default_factory=list)
    quer_pausa: bool = False
    posicao: int = 0  # a última que leu


class Modelo:
    """A especificação como programa: sem rede, sem threads e sem pressa.

    Cada método é um fato. `por_ler` é o que cada um tem a ler desde a última vez; `ouvido`, o que
    o registro ouviu.
    """

    def __init__(self, departamentos, devolver, registrar):
        self.departamentos, self.devolver, self.registrar = departamentos, devolver, registrar
        self.agora = 0  # segundos
        self.gente, self.por_ler, self.ouvido = {}, {}, []
        self.duracoes = {onde: [] for onde in departamentos or [""]}
        self.vezes, self.furos = itertools.count(), itertools.count(-1, -1)

    def dizer(self, eu, *linhas):
        self.por_ler.setdefault(eu.nome, []).extend(linhas)

    def contar(self, evento, cliente, *resto):
        self.ouvido.append((evento, cliente.onde[0], *resto))

    def esperam(self, cliente, onde):
        """Os clientes ou os atendentes que esperam num dos departamentos, por ordem."""
        servem = (eu for eu in self.gente.values() if eu.fase == "fila" and eu.cliente is cliente)
        return sorted((eu for eu in servem if {*eu.onde} & {*onde}), key=lambda eu: eu.vez)

    def posicao_de(self, cliente):
        return self.esperam(True, cliente.onde).index(cliente) + 1

    # Os passos.

    def chegar(self, *chegaram):
        """Formam-se os pares que der; quem sobra de `chegaram` lê que espera."""
        pares = ((eu, self.esperam(False, eu.onde)) for eu in self.esperam(True, self.duracoes))
        while par := next(((cliente, livres[0]) for cliente, livres in pares if livres), None):
            self.unir(*par)
            pares = ((eu, self.esperam(False, eu.onde)) for eu in self.esperam(True, self.duracoes))
        for eu in chegaram:
            if eu.fase == "fila" and eu.cliente:
                eu.posicao = self.posicao_de(eu)
                self.dizer(eu, f"FILA:{eu.posicao}")
            elif eu.fase == "fila":
                self.dizer(eu, "FILA:OK")

    def unir(self, cliente, atendente):
        for eu, par in (cliente, atendente), (atendente, cliente):
            eu.fase, eu.par = "conversa", par
            self.dizer(eu, f"CONECTADO:{par.nome}", *[REGISTRADA] * self.registrar)
        cliente.desde = self.agora
        self.contar("inicio", cliente, cliente.nome, atendente.nome, "")
        for texto in cliente.guardadas:
            self.entregar(cliente, texto)
        cliente.guardadas = []

    def entregar(self, eu, texto):
        self.dizer(eu.par, f"[{eu.nome}]: {texto}")
        self.contar("mensagem", eu if eu.cliente else eu.par, eu.nome, eu.par.nome, texto)

    def acabar(self, quem, motivo):
        cliente = quem if quem.cliente else quem.par
        self.duracoes[cliente.onde[0]].append(self.agora - cliente.desde)
        self.contar("fim", cliente, quem.nome, quem.par.nome, motivo)

    def passar_a_frente(self, cliente):
        cliente.fase, cliente.par, cliente.vez, cliente.posicao = "fila", None, next(self.furos), 0
        return [cliente]

    def liberar(self, atendente):
        """O atendente deixa a conversa ou a pausa: volta para o fim da fila, se não queria pausa."""
        atendente.fase, atendente.par, atendente.vez = "fila", None, next(self.vezes)
        if not atendente.quer_pausa:
            return [atendente]
        atendente.fase, atendente.quer_pausa = "pausa", False
        self.dizer(atendente, EM_PAUSA)
        return []

    # Os fatos.

    def entrar(self, nome, cliente, onde):
        self.gente[nome] = Alguem(nome, cliente, onde or [""], next(self.vezes))
        self.chegar(self.gente[nome])

    def falar(self, eu, texto):
        if eu.par:
            self.entregar(eu, texto)
        elif not eu.cliente:
            self.dizer(eu, "AVISO:Nenhum cliente conectado; a mensagem não foi enviada.")
        else:
            if not eu.guardadas:
                self.dizer(eu, "AVISO:Você ainda está na fila; sua mensagem será entregue ao atendente.")
            eu.guardadas.append(texto)  # as histórias são curtas demais para chegar a vinte

    def consultar(self, eu):
        fila = self.esperam(True, eu.onde)
        if not eu.cliente:
            nomes = ", ".join([cliente.nome for cliente in fila[:10]] + ["…"] * (len(fila) > 10))
            self.dizer(eu, f"AVISO:Clientes na fila: {len(fila)} ({nomes})." if fila else NINGUEM)
        elif eu.par:
            self.dizer(eu, UM_AVISO)
        else:
            atendem = (outro for outro in self.gente.values() if not outro.cliente and eu.onde[0] in outro.onde)
            online = sum(atendente.fase != "pausa" for atendente in atendem)
            posicao, espera = self.posicao_de(eu), self.estimar(eu, online)
            lugar = f"Você é o número {posicao} de {len(fila)} na fila"
            self.dizer(eu, f"AVISO:{lugar}; atendentes online: {online}{espera}.")

    def estimar(self, cliente, online):
        recentes = self.duracoes[cliente.onde[0]][-20:]
        if not recentes or not online:
            return ""
        segundos, por = sum(recentes) * self.posicao_de(cliente), len(recentes) * online  # inteiros: sem erro
        return f"; espera estimada: {'menos de 1' if segundos < 60 * por else -(-segundos // (60 * por))} min"

    def pausar(self, eu):
        if eu.cliente:
            self.dizer(eu, UM_AVISO)
        elif eu.par:
            eu.quer_pausa = True
            self.dizer(eu, FICARA)
        else:
            self.dizer(eu, JA_ESTA if eu.fase == "pausa" else EM_PAUSA)
            eu.fase = "pausa"

    def voltar(self, eu):
        if eu.cliente:
            self.dizer(eu, UM_AVISO)
        elif eu.fase == "pausa":
            self.chegar(*self.liberar(eu))
        else:
            self.dizer(eu, CANCELADA if eu.quer_pausa else NAO_ESTA)
            eu.quer_pausa = False

    def transferir(self, eu, onde):
        cliente = eu.par
        if eu.cliente or not cliente or onde not in self.departamentos or onde in cliente.onde:
            self.dizer(eu, UM_AVISO)
            return
        motivo = f"O cliente {cliente.nome} foi transferido para {onde}."
        self.acabar(eu, motivo)
        cliente.onde = [onde]
        self.dizer(cliente, f"AVISO:Você foi transferido para {onde}.")
        self.dizer(eu, f"FIM:Atendimento encerrado. {motivo}")
        self.chegar(*self.passar_a_frente(cliente), *self.liberar(eu))

    def encerrar(self, eu):
        if not eu.par:
            self.dizer(eu, "FIM:Você saiu da fila.", FECHOU)
            del self.gente[eu.nome]
            return
        self.desfazer(eu, "encerrou a conversa")
        self.dizer(eu, "FIM:Atendimento encerrado. Você encerrou a conversa.")
        if not eu.cliente:
            self.chegar(*self.liberar(eu))
        else:
            self.dizer(eu, FECHOU)
            del self.gente[eu.nome]

    def cair(self, eu):
        del self.gente[eu.nome]
        if eu.par:
            self.desfazer(eu, "desconectou")

    def desfazer(self, quem, fez):
        """O que a conversa desfeita por `quem` muda para o outro."""
        par = quem.par
        motivo = f"O {'cliente' if quem.cliente else 'atendente'} {quem.nome} {fez}."
        self.acabar(quem, motivo)
        if self.devolver and par.cliente and fez == "desconectou":
            self.dizer(par, f"AVISO:{motivo} Você voltou para o início da fila.")
            self.chegar(*self.passar_a_frente(par))
        elif par.cliente:
            self.dizer(par, f"FIM:Atendimento encerrado. {motivo}", FECHOU)
            del self.gente[par.nome]
        else:
            self.dizer(par, f"FIM:Atendimento encerrado. {motivo}")
            self.chegar(*self.liberar(par))

    def publicar(self):
        for cliente in self.esperam(True, self.duracoes):
            if cliente.posicao != self.posicao_de(cliente):
                cliente.posicao = self.posicao_de(cliente)
                self.dizer(cliente, f"FILA:{cliente.posicao}")


FATOS = {"entrar": 6, "falar": 6, "consultar": 4, "pausar": 3, "voltar": 4, "transferir": 6, "encerrar": 3, "cair": 2}
FATOS |= {"passar_o_tempo": 4, "publicar": 3}
LINHAS = {"consultar": "FILA:", "pausar": "PAUSA:", "voltar": "VOLTA:", "encerrar": "FIM:", "transferir": "TRANSFERIR:"}


@pytest.mark.parametrize("departamentos", [(), DOIS], ids=["sem-departamentos", "com-dois"])
@pytest.mark.parametrize("devolver", [False, True], ids=["encerra", "devolve"])
def test_cada_um_le_o_que_a_especificacao_manda(abrir_servidor, departamentos, devolver):
    """Numa história sorteada, em texto e em JSON, cada um lê exatamente o que o modelo diz, e nada mais."""
    modelo, ouvido = Modelo(departamentos, devolver, registrar=True), []

    def ouvir(a):
        ouvido.extend((a.evento, a.conversa.departamento, a.de, a.para, texto) for texto in a.textos)

    servidor = abrir_servidor(departamentos=departamentos, devolver=devolver, ouvinte=ouvir)
    servidor.filas.relogio = lambda: modelo.agora
    servidor.carteiro.proxima_publicacao = time.monotonic() + 3600  # quem publica as posições é o teste
    sorte, fios = random.Random(f"{departamentos} {devolver}"), {}

    def sortear(fato):
        """Um fato: no modelo e no servidor. Depois dele, a resposta a uma consulta diz que já aconteceu."""
        if fato == "entrar":
            nome, cliente = f"P{len(fios)}", sorte.random() < 0.6
            onde = sorte.sample(departamentos, 1 if cliente else sorte.randint(1, 2)) if departamentos else []
            fios[nome] = Fio(servidor, nome, em_json=sorte.random() < 0.5)
            fios[nome].entra("CLIENTE" if cliente else "ATENDENTE", ",".join(onde))
            return modelo.entrar(nome, cliente, onde)
        if fato == "passar_o_tempo":
            modelo.agora += sorte.choice([1, 20, 60, 200])
            return None
        if fato == "publicar":
            servidor.cumprir(servidor.filas.publicar_posicoes())
            return modelo.publicar()
        eu = sorte.choice(list(modelo.gente.values()))
        if fato == "cair":
            fios[eu.nome].cru.fecha()
            assert servidor.conexoes[int(eu.nome[1:])].fechou.wait(PRAZO)
            return modelo.cair(eu)
        o_que = {"falar": f"fala {passo}", "transferir": sorte.choice([*departamentos, "Compras"])}.get(fato)
        getattr(modelo, fato)(eu, *[o_que] * bool(o_que))
        if eu.nome in modelo.gente:
            modelo.consultar(eu)
        return fios[eu.nome].envia(LINHAS.get(fato, "") + (o_que or ""), "FILA:")

    for passo in range(400):
        poucos, muitos = len(modelo.gente) < 2, len(modelo.gente) > 16
        sortear("entrar" if poucos else "cair" if muitos else sorte.choices([*FATOS], FATOS.values())[0])
        for nome, linhas in modelo.por_ler.items():
            fios[nome].espera(*linhas)
        modelo.por_ler.clear()
    assert ouvido == modelo.ouvido and len(ouvido) > 50


# O que cada um pode ler em cada momento, e o momento em que fica. Entre um fato e outro ninguém para
# no meio: depois de um `CONECTADO:` vem o aviso do registro, e não outra coisa.
SITUACAO = r"AVISO:Você é o número \d+ de \d+ na fila; atendentes online: \d+(; espera estimada: .+ min)?\."
SO_ATENDENTES = r"AVISO:Só atendentes .+"
CONSULTA = r"AVISO:(Clientes na fila: \d+ \(.+\)|Nenhum cliente na fila)\."
SEM_PAR = r"AVISO:Nenhum cliente conectado.+"
MOMENTOS = {
    "CLIENTE": {
        "entrando": {r"NOME:": "entrando", r"FILA:\d+": "fila", r"CONECTADO:.+": "unido"},
        "fila": {
            rf"FILA:\d+|{SITUACAO}|{SO_ATENDENTES}|AVISO:Você ainda está.+|AVISO:Limite.+": "fila",
            r"CONECTADO:.+": "unido",
            r"FIM:Você saiu da fila\.": "fim",
        },
        "unido": {re.escape(REGISTRADA): "conversa"},
        "conversa": {
            rf"\[.+\]: .+|{SO_ATENDENTES}|AVISO:Você já está sendo atendido\.": "conversa",
            r"AVISO:Você foi transferido para (Vendas|Suporte)\.": "deslocado",
            r"AVISO:O atendente .+ desconectou\. Você voltou para o início da fila\.": "deslocado",
            r"FIM:Atendimento encerrado\. .+": "fim",
        },
        "deslocado": {r"FILA:1": "fila", r"CONECTADO:.+": "unido"},
        "fim": {},
    },
    "ATENDENTE": {
        "entrando": {r"NOME:": "entrando", r"FILA:OK": "fila", r"CONECTADO:.+": "unido"},
        "fila": {
            rf"{CONSULTA}|{SEM_PAR}|{NAO_ESTA}": "fila",
            EM_PAUSA: "pausa",
            r"CONECTADO:.+": "unido",
            r"FIM:Você saiu da fila\.": "fim",
        },
        "pausa": {
            rf"{CONSULTA}|{SEM_PAR}|{JA_ESTA}": "pausa",
            r"FILA:OK": "fila",
            r"CONECTADO:.+": "unido",
            r"FIM:Você saiu da fila\.": "fim",
        },
        "unido": {re.escape(REGISTRADA): "conversa"},
        "conversa": {
            rf"\[.+\]: .+|{CONSULTA}|{NAO_ESTA}|AVISO:O cliente .+ já está em .+": "conversa",
            FICARA: "conversa e pausa",
            r"FIM:Atendimento encerrado\. .+": "livre",
        },
        "conversa e pausa": {
            rf"\[.+\]: .+|{CONSULTA}|{FICARA}|AVISO:O cliente .+ já está em .+": "conversa e pausa",
            CANCELADA: "conversa",
            r"FIM:Atendimento encerrado\. .+": "fora",
        },
        "livre": {r"FILA:OK": "fila", r"CONECTADO:.+": "unido"},
        "fora": {EM_PAUSA: "pausa"},
        "fim": {},
    },
}


class Pessoa:
    """Alguém que faz de tudo, em texto ou em JSON, e confere cada linha que lê."""

    def __init__(self, servidor, nome, semente):
        self.sorte = random.Random(f"{semente} {nome}")
        self.tipo = self.sorte.choice(["CLIENTE", "CLIENTE", "ATENDENTE"])
        self.servidor, self.nome = servidor, nome
        self.momento, self.par, self.lidas = "entrando", None, []
        self.leu_tudo = False

    def viver(self):
        self.fio = Fio(self.servidor, self.nome, em_json=self.sorte.random() < 0.5)
        onde = self.sorte.choice(DOIS if self.tipo == "CLIENTE" else [*DOIS, "Vendas,Suporte", "*"])
        with contextlib.suppress(ConnectionError):  # o servidor já o desconectou
            self.fio.entra(self.tipo, onde)
            for passo in range(self.sorte.randrange(3, 25)):
                self.fio.envia(*self.linhas(passo))
                if self.sorte.random() < 0.5:  # uma consulta dá tempo ao tempo: espera-se pela resposta
                    self.fio.envia("FILA:")
                    self.ler_ate(rf"{SITUACAO}|{CONSULTA}|AVISO:Você já está sendo atendido\.")
            if self.sorte.random() < 0.7:
                self.fio.cru.para_de_escrever()
                self.ler_ate(FECHOU)
        self.sorte.choice([self.fio.cru.some, self.fio.cru.fecha])()

    def linhas(self, passo):
        """Quase sempre mensagens; às vezes um comando, que pode não caber."""
        comandos = ["PAUSA:", "VOLTA:", "TRANSFERIR:Vendas", "TRANSFERIR:Suporte", "FIM:"]
        mensagens = [f"{passo}.{n}" for n in range(self.sorte.choice([1, 1, 2, 9]))]
        return self.sorte.choices([mensagens, *([comando] for comando in comandos)], [20, 1, 3, 2, 2, 1])[0]

    def ler_ate(self, forma):
        while (linha := self.fio.linha()) is not FECHOU:
            self.conferir(linha)
            if forma is not FECHOU and re.fullmatch(forma, linha):
                return
        self.leu_tudo = True
        raise ConnectionResetError

    def conferir(self, linha):
        passos = MOMENTOS[self.tipo][self.momento].items()
        seguinte = next((momento for forma, momento in passos if re.fullmatch(forma, linha)), None)
        assert seguinte, f"{self.nome} ({self.tipo}) leu {linha!r} em {self.momento}"
        self.momento = seguinte
        if linha.startswith("CONECTADO:"):
            self.par = linha.removeprefix("CONECTADO:")
        elif linha.startswith("["):
            assert linha.startswith(f"[{self.par}]: "), f"{self.nome} leu {linha!r} numa conversa com {self.par}"
            self.lidas.append(linha)


@pytest.mark.parametrize("semente", range(2), ids="semente-{}".format)
def test_caos_com_tudo_ligado(abrir_servidor, semente):
    """Cada um só lê o que podia, e tudo o que o registro diz que lhe foi dito, na ordem; no fim não sobra ninguém."""
    ouvido = []

    def ouvir(a):
        ouvido.extend((a.conversa.numero, a.evento, a.de, a.para, texto) for texto in a.textos)

    servidor = abrir_servidor(departamentos=DOIS, devolver=True, ouvinte=ouvir, prazo_envio=PRAZO)
    pessoas = [Pessoa(servidor, f"P{numero}", semente) for numero in range(120)]
    with ThreadPoolExecutor(40) as threads:
        list(threads.map(Pessoa.viver, pessoas))
    servidor.espera_que_fechem()
    filas = servidor.filas
    assert not (filas.user_states or filas.fila_clientes or filas.fila_atendentes or filas.online)
    mensagens = [(de, para, texto) for _, evento, de, para, texto in ouvido if evento == "mensagem"]
    for pessoa in pessoas:
        para_ela = [f"[{de}]: {texto}" for de, para, texto in mensagens if para == pessoa.nome]
        assert pessoa.lidas == (para_ela if pessoa.leu_tudo else para_ela[: len(pessoa.lidas)])
        dela = [tuple(map(int, texto.split("."))) for de, _, texto in mensagens if de == pessoa.nome]
        assert dela == sorted(set(dela)), f"de {pessoa.nome}, algo se repetiu ou trocou de lugar"
    for numero in range(1, filas.conversas + 1):
        eventos = [evento for conversa, evento, *_ in ouvido if conversa == numero]
        assert eventos == ["inicio", *["mensagem"] * (len(eventos) - 2), "fim"]
    assert len(mensagens) > 100
